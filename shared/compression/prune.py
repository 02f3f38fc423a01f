"""One pruning step: what an arm's `prune` says, done to a trained network."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from shared import datasets
from shared.compression import importance
from shared.compression.branches import open_branches, without_branches
from shared.compression.choose import Choice, global_threshold, per_layer
from shared.compression.masks import apply_masks, magnitude_masks
from shared.compression.reconstruction import reconstruct
from shared.compression.surgery import masked, shrink
from shared.errors import UsageError
from shared.training.recipe import Prune

TAYLOR_BATCHES, RECONSTRUCTION_BATCHES, BATCH = 8, 16, 64


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What is left.

    Attributes:
        args: what the builder's arguments become: the widths, when channels went, or the branches that stay.
        state: the weights, of those widths.
        floored: prunable layers that would have lost every channel; one is left.
    """

    args: dict[str, Any]
    state: dict[str, Tensor]
    floored: tuple[str, ...]


def prune(
    network: nn.Module, how: Prune, spec: datasets.DatasetSpec, seed: int, *, onto: nn.Module | None = None
) -> Pruned:
    """Take out of a network what counts least; the network stays as it is.

    Args:
        network: the trained one.
        how: what counts, and how much goes.
        spec: of the data set that it was trained on.
        seed: of what is drawn.
        onto: take the same out of this network of the same structure instead; its weights are not reconstructed.

    Raises:
        UsageError: weights judged one by one have no ratio for each layer.
        PapertrailError: the network cannot be pruned in this way; see shared/compression.
    """
    target = network if onto is None else onto
    if how.by == "gate":
        assert not isinstance(how.ratio, dict)  # the recipe's validator
        stays = open_branches(network, how.ratio)
        branches = "-".join("1" if one else "0" for one in stays.values())
        return Pruned({"gates": False, "branches": branches}, without_branches(target, stays), ())
    assert how.ratio is not None  # the recipe's validator
    if how.by == "magnitude":
        if isinstance(how.ratio, dict):
            raise UsageError("prune: `magnitude` takes one ratio; a ratio for each layer is for channels")
        twin = copy.deepcopy(target)
        apply_masks(twin, magnitude_masks(network, how.ratio, how.scope))
        return Pruned({}, twin.state_dict(), ())
    if how.by in ("thinet", "regression"):
        images = [images for images, _ in _batches(spec, seed, RECONSTRUCTION_BATCHES)]
        choice, mended = reconstruct(network, how.by, how.ratio, images, spec.shape, seed)
        target = mended if onto is None else onto
    else:
        choice = _choice(_scores(network, how, spec, seed), how)
    if how.shapes == "kept":
        twin = copy.deepcopy(target)
        masked(twin, {name: keep if name not in choice.floors else keep & False for name, keep in choice.keep.items()})
        return Pruned({}, twin.state_dict(), ())
    state = shrink(target, choice.keep, spec.shape)
    widths = "-".join(str(int(choice.keep[name].sum())) for name in choice.keep)
    return Pruned({"widths": widths}, state, choice.floors)


def _scores(network: nn.Module, how: Prune, spec: datasets.DatasetSpec, seed: int) -> importance.Scores:
    match how.by:
        case "l1":
            return importance.filter_norm(network, spec.shape, 1)
        case "l2":
            return importance.filter_norm(network, spec.shape, 2)
        case "taylor":
            return importance.taylor(network, _batches(spec, seed, TAYLOR_BATCHES))
        case "random":
            return importance.random(network, seed)
    return importance.scale(network)


def _choice(scores: importance.Scores, how: Prune) -> Choice:
    assert how.ratio is not None  # the recipe's validator
    if how.scope == "layer":
        return per_layer(scores, how.ratio)
    assert not isinstance(how.ratio, dict)  # the recipe's validator
    return global_threshold(scores, how.ratio, 1.0 if how.most is None else how.most)


def _batches(spec: datasets.DatasetSpec, seed: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The first batches of the training split in the order of the first epoch, not augmented."""
    module = datasets.datamodule(spec.name, batch_size=BATCH, augment=datasets.augment.Augment(), seed=seed)
    module.setup()
    for number, batch in enumerate(module.train_dataloader()):
        if number == count:
            return
        images, labels = module.transform(batch, training=False)
        yield images, torch.as_tensor(labels)
