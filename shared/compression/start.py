"""What an arm that continues another begins with: the network of a finished run, whole or in its structure alone."""

from __future__ import annotations

import dataclasses
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
from shared.errors import PapertrailError
from shared.files import read_json
from shared.layers.widths import prunable_norms
from shared.training.plan import planned
from shared.training.protocol import Protocol
from shared.weights.storage import fill, load_weights


@dataclasses.dataclass(frozen=True)
class Start:
    """The network that a run begins with.

    Attributes:
        origin: the arguments of the network at the start of the chain of arms, before any pruning.
        args: the arguments of this one; with its widths when channels were pruned.
        state: its weights, zeros where single weights or whole channels were pruned in place.
        zeros: which of the two were, on the way.
        arm: the arm that it comes from.
        sha256: of the weights file of that arm.
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
    """What the arm that `arm` continues ended with.

    Args:
        paper: the slug.
        name: of the protocol.
        protocol: from params.yaml.
        arm: the one that continues.
        seed: of both.
        runs: where the paper's runs are kept.

    Raises:
        PapertrailError: that run is not there, is damaged, or was made under another plan than is stated now.
    """
    parent = protocol.arms[arm].of
    assert parent is not None
    record, state = finished(paper, name, protocol, parent, seed, runs)
    return Start(
        dict(protocol.origin(arm).args), record["args"], state, protocol.zeros(parent), parent, record["sha256"]
    )


def finished(
    paper: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The record and the weights of a finished run; see `load_start`."""
    record = _record(paper, name, protocol, arm, seed, runs)
    folder = runs / name / arm / "seeds" / str(seed)
    return record, load_weights(folder / "weights.safetensors", record["sha256"])


def _record(paper: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path) -> dict[str, Any]:
    """The record of a finished run whose plan, and whose ancestors' plans, are what is stated now."""
    folder = runs / name / arm / "seeds" / str(seed)
    command = f"`python -m shared.training {protocol.action(arm)} papers/{paper} {name} {arm} --seed {seed}`"
    if not (folder / "run.json").exists():
        raise PapertrailError(f"{folder}: no finished run to go on from; {command} makes it")
    parent = protocol.arms[arm].of
    begun = None
    if parent is not None:
        begun = {"arm": parent, "sha256": _record(paper, name, protocol, parent, seed, runs)["sha256"]}
    record = read_json(folder / "run.json")
    now = planned(paper, name, protocol, arm, seed, begun)
    for key in now:
        if record["plan"].get(key) != now[key]:
            raise PapertrailError(f"{folder}: `{key}` of its plan is not what is stated now; {command} makes it anew")
    return record


def initial_state(start: Start, paper: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path) -> Start:
    """The same structure with the weights that the first network of the chain began its training with.

    Every pruning on the way is repeated, by what the trained networks say, on the untrained one (Frankle and Carbin
    2019: a winning ticket).
    """
    spec = datasets.spec(protocol.data)
    builder = protocol.origin(arm).builder
    torch.manual_seed(seed)
    ticket = build(paper, builder, start.origin, spec.classes, spec.shape[0])
    args = dict(start.origin)
    chain = protocol.lineage(start.arm)
    for parent, step in itertools.pairwise(chain):
        how = protocol.arms[step].prune
        if how is None:
            continue
        record, state = finished(paper, name, protocol, parent, seed, runs)
        trained = build(paper, builder, record["args"], spec.classes, spec.shape[0])
        fill(trained, state, runs)
        pruned = prune(trained, how, spec, seed, onto=ticket)
        args = args | pruned.args
        ticket = build(paper, builder, args, spec.classes, spec.shape[0])
        fill(ticket, pruned.state, runs)
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
