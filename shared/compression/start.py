"""What an arm that continues another begins with: the network of a finished run, whole or in its structure alone."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared import datasets
from shared.builders import build
from shared.compression.masks import convolutions
from shared.compression.prune import prune
from shared.compression.surgery import masked
from shared.datasets.augment import Statistics
from shared.errors import UsageError
from shared.layers.widths import prunable_norms
from shared.training.classification import ClassificationRecipe
from shared.training.protocol import Protocol
from shared.training.run import finished, run_of
from shared.weights.load import run_folder
from shared.weights.published import published


@dataclasses.dataclass(frozen=True)
class Start:
    """The network that a run begins with.

    Attributes:
        origin: the arguments of the network at the start of the chain of arms, before any pruning.
        args: the arguments of this one; with its widths when channels were pruned.
        state: its weights, zeros where single weights or whole channels were pruned in place.
        zeros: which of the two were, on the way.
        arm: the arm that it comes from; or the reference of the published network.
        sha256: of the weights file of that arm, or of the published one.
    """

    origin: dict[str, Any]
    args: dict[str, Any]
    state: dict[str, Tensor]
    zeros: frozenset[str]
    arm: str
    sha256: str

    def channels(self, network: nn.Module) -> dict[str, Tensor]:
        """Of every prunable layer which channels are left, (channels,) bool, where those that went are zeros."""
        return {name: self.state[f"{name}.weight"] != 0 for name in prunable_norms(network)}


def load_start(paper: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path) -> Start:
    """What the arm that `arm` continues ended with, or the published network that it begins with.

    Args:
        paper: the slug.
        name: of the protocol.
        protocol: from params.yaml.
        arm: the one that continues.
        seed: of both.
        runs: where the paper's runs are kept.

    Raises:
        PapertrailError: that run, or one before it, is not finished under what is stated now, or is damaged.
        UsageError: what is published is another network, or sees other images, than params.yaml states.
        DataError: its file is not there.
    """
    if protocol.arms[arm].begin is not None:
        return _given(paper, name, protocol, arm)
    parent = protocol.arms[arm].of
    assert parent is not None
    record, network = finished(
        run_of(paper, name, protocol, parent, seed, runs), run_folder(paper, name, parent, seed, runs)
    )
    return Start(
        origin=dict(protocol.origin(arm).args),
        args=record["args"],
        state=network.state_dict(),
        zeros=protocol.zeros(parent),
        arm=parent,
        sha256=record["sha256"],
    )


def _given(paper: str, name: str, protocol: Protocol, arm: str) -> Start:
    """The published network that an arm begins with."""
    one, recipe = protocol.arms[arm], protocol.recipe_of(arm)
    assert one.begin is not None and isinstance(recipe, ClassificationRecipe)
    given, where = published(one.begin), f"papers/{paper}/params.yaml: {name}.arms.{arm}"
    if (one.builder, one.args) != (given.model, given.args):
        raise UsageError(f"{where}: `{one.begin}` is {given.model} with the arguments {dict(given.args)}; state these")
    if datasets.spec(protocol.data).classes != datasets.spec(given.data).classes:
        raise UsageError(f"{where}: `{one.begin}` has the classes of {given.data}")
    if given.licence is None:
        raise UsageError(f"{where}: {given.source} states no licence; what begins with it could not be passed on")
    seen = Statistics(mean=given.mean, std=given.std)
    if recipe.augment.statistics != seen:
        raise UsageError(
            f"{where}: `{one.begin}` was trained with `augment.statistics: {seen.model_dump()}`; state them"
        )
    return Start(
        origin=dict(one.args),
        args=dict(one.args),
        state=given.network().state_dict(),
        zeros=frozenset(),
        arm=one.begin,
        sha256=given.sha256,
    )


def initial_state(start: Start, paper: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path) -> Start:
    """The same structure with the weights that the first network of the chain began its training with.

    Every pruning on the way is repeated, by what the trained networks say, on the untrained one (Frankle and Carbin
    2019: a winning ticket).
    """
    spec = datasets.spec(protocol.data)
    builder = protocol.origin(arm).builder
    torch.manual_seed(seed)
    args = dict(start.origin)

    def changed(args: dict[str, Any], changes: dict[str, Any]) -> nn.Module:
        return build(paper, builder, args | changes, spec.classes, spec.shape[0])

    ticket = changed(args, {})
    chain = protocol.lineage(start.arm)
    for parent, step in itertools.pairwise(chain):
        how = protocol.arms[step].prune
        if how is None:
            continue
        _, trained = finished(
            run_of(paper, name, protocol, parent, seed, runs), run_folder(paper, name, parent, seed, runs)
        )
        pruned, ticket = prune(trained, how, spec, seed, functools.partial(changed, args), onto=ticket)
        args = args | pruned.args
    return dataclasses.replace(start, state=ticket.state_dict())


def redraw(network: nn.Module, start: Start) -> None:
    """Give a newly initialised network the structure of `start`: selected channels, and zeros where something is gone.

    What is left of a convolution that lost weights is drawn from N(0, 2 / n) with n weights for each input channel
    (the released code of Liu et al. 2019, weight-level pruning): its fan is what was left, too.
    """
    own = network.state_dict()
    for tensor, given in ((own[name], value) for name, value in start.state.items()):
        if not tensor.is_floating_point() and tensor.dim():
            tensor.copy_(given)  # the index of a channel selection or shuffle
    if "channels" in start.zeros:
        masked(network, start.channels(network))
    if "weights" in start.zeros:
        for name, layer in convolutions(network):
            kept = start.state[f"{name}.weight"] != 0
            deviation = (2 * layer.weight.shape[1] / max(int(kept.sum()), 1)) ** 0.5
            with torch.no_grad():
                layer.weight.normal_(0, deviation).mul_(kept)
