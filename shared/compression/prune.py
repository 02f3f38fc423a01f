"""One pruning step: what an arm's `prune` says, done to a trained network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared import datasets
from shared.compression import importance
from shared.compression.choose import Choice, global_threshold, per_layer
from shared.compression.equal import check_equal, versions
from shared.compression.masks import apply_masks, magnitude_masks
from shared.compression.probe import duplicate
from shared.compression.surgery import cut, cuts, masked
from shared.compression.trace import Trace
from shared.datasets.augment import Augment
from shared.training.pruning import Decision, PaperPrune, Prune, Pruned
from shared.weights.storage import fill

TAYLOR_BATCHES, BATCH = 8, 64


def prune(
    network: nn.Module,
    how: Prune,
    spec: datasets.DatasetSpec,
    seed: int,
    build: Callable[[dict[str, Any]], nn.Module],
    *,
    onto: nn.Module | None = None,
) -> tuple[Pruned, nn.Module]:
    """Take out of a network what counts least; the network stays as it is.

    Whatever the rule, what is left is compared on noise with the network in which all that went is 0: with random
    weights, which hide nothing, and with its own.

    Args:
        network: the trained one.
        how: what counts, and how much goes.
        spec: of the data set that it was trained on.
        seed: of what is drawn.
        build: makes the network whose arguments are changed in this way.
        onto: take the same out of this network of the same structure instead.

    Returns:
        What is left, and the network that has it.

    Raises:
        PapertrailError: the network cannot be pruned in this way; see shared/compression.
    """
    target = network if onto is None else onto
    decision = _decided(network, how, spec, seed)
    Trace(target, spec.shape)  # refuses a forward that looks at values: random ones could keep it busy for ever
    for version in versions(target, spec.shape):
        pruned = decision(version)
        small = build(pruned.args)
        fill(small, pruned.state, Path("the pruned weights"))
        check_equal(pruned.whole, duplicate(small), spec.shape)
    return pruned, small


def shrunk(network: nn.Module, choice: Choice, spec: datasets.DatasetSpec) -> Decision:
    """Leaves the channels of a choice in networks like this one, for images of a data set."""
    widths = "-".join(str(int(keep.sum())) for keep in choice.keep.values())
    stays = cuts(network, choice.keep, spec.shape)

    def take(onto: nn.Module) -> Pruned:
        whole = copy.deepcopy(onto)
        masked(whole, choice.keep)
        return Pruned({"widths": widths}, cut(onto, stays).state_dict(), whole, choice.floors)

    return take


def _decided(network: nn.Module, how: Prune, spec: datasets.DatasetSpec, seed: int) -> Decision:
    if isinstance(how, PaperPrune):
        return how.decide(network, spec, seed)
    assert how.ratio is not None  # Prune.check
    if how.by == "magnitude":
        assert not isinstance(how.ratio, dict)
        masks = magnitude_masks(network, how.ratio, how.scope)
        return lambda onto: _in_place(onto, lambda twin: apply_masks(twin, masks))
    choice = _choice(_scores(network, how, spec, seed), how)
    if how.shapes == "kept":
        keep = {name: mask if name not in choice.floors else mask & False for name, mask in choice.keep.items()}
        return lambda onto: _in_place(onto, lambda twin: masked(twin, keep))
    return shrunk(network, choice, spec)


def _in_place(onto: nn.Module, take: Callable[[nn.Module], None]) -> Pruned:
    twin = copy.deepcopy(onto)
    take(twin)
    return Pruned({}, twin.state_dict(), twin)


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
