"""One pruning step: what an arm's `prune` says, done to a trained network."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from shared import datasets
from shared.compression import importance
from shared.compression.choose import Choice, global_threshold, per_layer
from shared.compression.masks import apply_masks, magnitude_masks
from shared.compression.surgery import masked, shrink
from shared.datasets.augment import Augment
from shared.training.pruning import PaperPrune, Prune, Pruned

TAYLOR_BATCHES, BATCH = 8, 64


def prune(
    network: nn.Module, how: Prune, spec: datasets.DatasetSpec, seed: int, *, onto: nn.Module | None = None
) -> Pruned:
    """Take out of a network what counts least; the network stays as it is.

    Args:
        network: the trained one.
        how: what counts, and how much goes.
        spec: of the data set that it was trained on.
        seed: of what is drawn.
        onto: take the same out of this network of the same structure instead.

    Raises:
        PapertrailError: the network cannot be pruned in this way; see shared/compression.
    """
    target = network if onto is None else onto
    if isinstance(how, PaperPrune):
        return how.take(network, spec, seed, target)
    assert how.ratio is not None  # Prune.check
    if how.by == "magnitude":
        assert not isinstance(how.ratio, dict)
        twin = copy.deepcopy(target)
        apply_masks(twin, magnitude_masks(network, how.ratio, how.scope))
        return Pruned({}, twin.state_dict())
    choice = _choice(_scores(network, how, spec, seed), how)
    if how.shapes == "kept":
        twin = copy.deepcopy(target)
        masked(twin, {name: keep if name not in choice.floors else keep & False for name, keep in choice.keep.items()})
        return Pruned({}, twin.state_dict())
    return shrunk(target, choice, spec)


def shrunk(network: nn.Module, choice: Choice, spec: datasets.DatasetSpec) -> Pruned:
    """The smaller network that has the channels of a choice, for images of a data set."""
    widths = "-".join(str(int(keep.sum())) for keep in choice.keep.values())
    return Pruned({"widths": widths}, shrink(network, choice.keep, spec.shape), choice.floors)


def _scores(network: nn.Module, how: Prune, spec: datasets.DatasetSpec, seed: int) -> importance.Scores:
    match how.by:
        case "l1":
            return importance.filter_norm(network, spec.shape, 1)
        case "l2":
            return importance.filter_norm(network, spec.shape, 2)
        case "taylor":
            return importance.taylor(network, batches(spec, seed, TAYLOR_BATCHES))
        case "random":
            return importance.random(network, seed)
    return importance.scale(network)


def _choice(scores: importance.Scores, how: Prune) -> Choice:
    assert how.ratio is not None  # Prune.check
    if how.scope == "layer":
        return per_layer(scores, how.ratio)
    assert not isinstance(how.ratio, dict)
    return global_threshold(scores, how.ratio, 1.0 if how.most is None else how.most)


def batches(spec: datasets.DatasetSpec, seed: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The first batches of the training split in the order of the first epoch, not augmented."""
    module = datasets.datamodule(spec.name, batch_size=BATCH, augment=Augment(), seed=seed)
    module.setup()
    for number, batch in enumerate(module.train_dataloader()):
        if number == count:
            return
        images, labels = module.transform(batch, training=False)
        yield images, torch.as_tensor(labels)
