"""Runs that continue other runs: pruning, fine-tuning, and training a pruned structure from scratch."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from torch import nn

from shared import datasets
from shared.builders import build
from shared.compression.masks import hold_zeros, live_cost
from shared.compression.prune import prune
from shared.compression.start import Start, initial_state, load_start, redraw
from shared.compression.surgery import hold_channels
from shared.training.classification import ClassificationRecipe
from shared.training.fit import ClassificationRun
from shared.training.protocol import Protocol
from shared.training.run import Outcome, device_name
from shared.weights.storage import fill


@dataclasses.dataclass(frozen=True)
class ContinuedRun(ClassificationRun):
    """One arm that continues another, with one seed; its metrics have the parameters and MACs too, zeros left out.

    Attributes:
        start: what the arm before it ended with.
        runs: where the runs of the chain are kept; None when nothing of it was trained.
    """

    start: Start
    runs: Path | None = None

    @functools.cached_property
    def recipe(self) -> ClassificationRecipe:  # type: ignore[override]  # worked out once: it builds both networks
        """The recipe as it is carried out: longer, with `budget: macs`, by the MACs that the network has lost."""
        recipe = super().recipe
        return recipe if self.arm.budget == "epochs" else stretched(recipe, self.saving)

    @functools.cached_property
    def saving(self) -> float:
        """MACs of the network at the start of the chain over those of this one."""
        with torch.device("meta"):
            whole = self.network(self.start.origin)
        return live_cost(whole, self.spec.shape)[1] / live_cost(self.build(), self.spec.shape)[1]

    @property
    def begins(self) -> dict[str, Any]:
        """The arm that this one continues, or the published network, and the hash of its weights."""
        return {"arm": self.start.arm, "sha256": self.start.sha256}

    @property
    def args(self) -> dict[str, Any]:
        """With the widths that pruning left."""
        return self.start.args

    @functools.cached_property
    def begun(self) -> Start:
        """`start`, where the arm says so with the weights from before any training; that prunes the whole chain anew,
        which only what builds the network needs."""
        if self.arm.weights != "initial" or self.runs is None:
            return self.start
        names = self.paper, self.protocol_name, self.protocol, self.arm_name
        return initial_state(self.start, *names, self.seed, self.runs)

    def build(self) -> nn.Module:
        """The network with the weights that it begins with; weights that were pruned stay zero in training."""
        begun = self.begun
        torch.manual_seed(self.seed)
        network = self.network(self.args)
        if self.arm.weights == "random":
            redraw(network, begun)
        else:
            fill(network, begun.state, Path(begun.arm))
        if "weights" in begun.zeros:
            hold_zeros(network)
        if "channels" in begun.zeros:
            hold_channels(network, begun.channels(network))
        return network

    def fit(self, folder: Path, watched_by: Sequence[Callback] = ()) -> Outcome:
        """Prune, or train; see `ClassificationRun.fit`."""
        if self.arm.prune is None:
            return super().fit(folder, watched_by)
        pruned, network = prune(
            self.build(), self.arm.prune, self.spec, self.seed, lambda changed: self.network(self.args | changed)
        )
        device = device_name(torch.device("cpu"))
        return Outcome(network, [], 0, device, pruned.args, {"floored": len(pruned.floored)})

    def evaluate(self, network: nn.Module, folder: Path) -> dict[str, float]:
        """See `Run.evaluate`."""
        params, macs = live_cost(network.cpu(), self.spec.shape)
        return super().evaluate(network, folder) | {"params": params, "macs": macs}


def continued(paper: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path) -> ContinuedRun:
    """The run of an arm that continues another, whose run is among `runs`, the paper's."""
    start = load_start(paper, name, protocol, arm, seed, runs)
    return ContinuedRun(paper, name, protocol, arm, seed, start, runs)


def stretched(recipe: ClassificationRecipe, factor: float) -> ClassificationRecipe:
    """The recipe with `factor` times its epochs, rounded down, and the steps of its schedule at the same shares."""
    assert recipe.epochs is not None  # the protocol's validator
    schedule = recipe.schedule
    milestones = tuple(round(milestone * factor) for milestone in schedule.milestones)
    every = None if schedule.every is None else round(schedule.every * factor)
    changed = schedule.model_copy(update={"milestones": milestones, "every": every})
    epochs = max(1, math.floor(recipe.epochs * factor))
    return recipe.model_copy(update={"epochs": epochs, "schedule": changed})


def untrained(paper: str, name: str, protocol: Protocol, arm: str) -> ContinuedRun:
    """The run of an arm whose chain was pruned without any training, to try the recipe with."""
    spec, origin = datasets.spec(protocol.data), protocol.origin(arm)
    torch.manual_seed(protocol.seed)
    args = dict(origin.args)

    def changed(args: dict[str, Any], changes: dict[str, Any]) -> nn.Module:
        return build(paper, origin.builder, args | changes, spec.classes, spec.shape[0])

    network = changed(args, {})
    for step in protocol.lineage(arm):
        how = protocol.arms[step].prune
        if how is not None:
            pruned, network = prune(network, how, spec, protocol.seed, functools.partial(changed, args))
            args = args | pruned.args
    start = Start(dict(origin.args), args, network.state_dict(), protocol.zeros(arm), str(protocol.arms[arm].start), "")
    return ContinuedRun(paper, name, protocol, arm, protocol.seed, start)
