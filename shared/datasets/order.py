"""The order of samples: canonical where a source has none of its own, and the batches of an epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from shared.datasets import rng
from shared.errors import UsageError


def round_robin(labels: Tensor) -> Tensor:
    """An order (N,) that deals one sample of each class in turn, and keeps each class's samples in their order.

    It depends on the order within each class only: two sources that agree on that agree on the result.
    """
    by_class = torch.argsort(labels, stable=True)
    first = torch.bincount(labels).cumsum(0) - torch.bincount(labels)
    turn = torch.arange(len(labels)) - first[labels[by_class]]
    return by_class[torch.argsort(turn, stable=True)]


def training_batches(
    count: int, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> list[Tensor]:
    """The batches of an epoch for one process: a share of each global batch of `batch_size` samples.

    Every process gets equally many batches. The last, smaller global batch is kept unless it would leave a process
    with fewer than two samples (BatchNorm needs two).
    """
    if batch_size < 2 * world:
        raise UsageError(f"batch size {batch_size} gives fewer than 2 samples to each of {world} processes; raise it")
    whole = rng.permutation(seed, epoch, count).split(batch_size)
    return [batch[rank::world] for batch in whole if len(batch) >= 2 * world]


def test_batches(count: int, batch_size: int, *, rank: int = 0, world: int = 1) -> list[Tensor]:
    """The evaluation batches of one process: every sample is in exactly one, and each process has equally many."""
    pieces = -(-count // batch_size) * world
    if count < pieces:
        raise UsageError(f"{count} test samples cannot be divided among {world} processes; use fewer processes")
    return list(torch.arange(count).tensor_split(pieces)[rank::world])
