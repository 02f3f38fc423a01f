"""Runs that continue other runs: pruning, fine-tuning, and training a pruned structure from scratch."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from shared import datasets
from shared.builders import build
from shared.compression.masks import hold_zeros, live_cost
from shared.compression.prune import prune
from shared.compression.start import Start, initial_state, load_start, redraw
from shared.compression.surgery import hold_channels
from shared.errors import UsageError
from shared.files import ROOT
from shared.training.recipe import Protocol, Recipe
from shared.training.run import Outcome, Run, device_name, protocol_with, two_steps
from shared.training.task import ClassificationTask
from shared.weights.storage import fill


@dataclasses.dataclass(frozen=True)
class ContinuedRun(Run):
    """One arm that continues another, with one seed; `metrics` has its parameters and MACs too, zeros left out."""

    start: Start

    @functools.cached_property
    def recipe(self) -> Recipe:
        """The recipe as it is carried out: longer, with `budget: macs`, by the MACs that the network has lost."""
        recipe = super().recipe
        return recipe if self.arm.budget == "epochs" else stretched(recipe, self.saving)

    @functools.cached_property
    def saving(self) -> float:
        """MACs of the network at the start of the chain over those of this one."""
        with torch.device("meta"):
            whole = self._network(self.start.origin)
        return live_cost(whole, self.spec.shape)[1] / live_cost(self.build(), self.spec.shape)[1]

    def _network(self, args: dict[str, Any]) -> nn.Module:
        builder = self.protocol.origin(self.arm_name).builder
        return build(self.paper, builder, dict(args), self.spec.classes, self.spec.shape[0])

    def build(self) -> nn.Module:
        """The network with the weights that it begins with; weights that were pruned stay zero in training."""
        torch.manual_seed(self.seed)
        network = self._network(self.start.args)
        if self.arm.weights == "random":
            redraw(network, self.start)
        else:
            fill(network, self.start.state, Path(self.start.arm))
        if "weights" in self.start.zeros:
            hold_zeros(network)
        if "channels" in self.start.zeros:
            hold_channels(network, self.start.channels(network))
        return network

    def plan(self) -> dict[str, Any]:
        """As of any run, and what it continues."""
        return super().plan() | {
            "model": self.protocol.origin(self.arm_name).builder,
            "args": self.start.args,
            "start": {"arm": self.start.arm, "sha256": self.start.sha256, "how": self.arm.model_dump(mode="json")},
        }

    def fit(self, folder: Path) -> Outcome:
        """Prune and evaluate, or train; see `Run.fit`."""
        outcome = self._prune() if self.arm.prune else super().fit(folder)
        params, macs = live_cost(outcome.model, self.spec.shape)
        return dataclasses.replace(outcome, metrics=outcome.metrics | {"params": params, "macs": macs})

    def _prune(self) -> Outcome:
        how = self.arm.prune
        assert how is not None
        pruned = prune(self.build(), how, self.spec, self.seed)
        args = self.start.args | pruned.args
        network = self._network(args)
        fill(network, pruned.state, Path(self.arm_name))
        recipe = self.recipe
        data = datasets.datamodule(self.protocol.data, batch_size=recipe.batch_size, augment=recipe.augment, seed=0)
        task = ClassificationTask(network, recipe, classes=self.spec.classes, seed=self.seed, steps_per_epoch=1)
        trainer = pl.Trainer(
            accelerator=self.protocol.trainer.accelerator, devices=1, logger=False,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.validate(task, data, verbose=False)
        metrics = task.test_metrics() | {"floored": len(pruned.floored)}
        return Outcome(network, metrics, [], 0, device_name(trainer.strategy.root_device), args)


def continued(
    paper: str, name: str, protocol: Protocol, arm: str, seed: int, *, runs: Path | None = None
) -> ContinuedRun:
    """The run of an arm that continues another; UsageError when it continues none."""
    if protocol.arms[arm].of is None:
        raise UsageError(f"`{arm}` continues no other arm: `python -m shared.{protocol.module(arm)}` runs it")
    runs = runs or ROOT / "papers" / paper / "runs"
    start = load_start(paper, name, protocol, arm, seed, runs)
    if protocol.arms[arm].weights == "initial":
        start = initial_state(start, paper, name, protocol, arm, seed, runs)
    return ContinuedRun(paper, name, protocol, arm, seed, start)


def stretched(recipe: Recipe, factor: float) -> Recipe:
    """The recipe with `factor` times its epochs, rounded down, and the steps of its schedule at the same shares."""
    assert recipe.epochs is not None
    schedule = recipe.schedule
    milestones = tuple(round(milestone * factor) for milestone in schedule.milestones)
    every = None if schedule.every is None else round(schedule.every * factor)
    changed = schedule.model_copy(update={"milestones": milestones, "every": every})
    epochs = max(1, math.floor(recipe.epochs * factor))
    return recipe.model_copy(update={"epochs": epochs, "schedule": changed})


def fast_check(paper: str, name: str, arm: str) -> None:
    """Two steps on stand-in data of an arm whose chain was pruned without any training; writes nothing."""
    protocol = protocol_with(paper, name, arm)
    spec, origin = datasets.spec(protocol.data), protocol.origin(arm)
    args = dict(origin.args)
    torch.manual_seed(protocol.seed)
    network = build(paper, origin.builder, args, spec.classes, spec.shape[0])
    chain = protocol.lineage(arm)
    for step in chain[1:]:
        how = protocol.arms[step].prune
        if how is not None:
            pruned = prune(network, how, spec, protocol.seed)
            args = args | pruned.args
            network = build(paper, origin.builder, args, spec.classes, spec.shape[0])
            fill(network, pruned.state, Path(step))
    start = Start(dict(origin.args), args, network.state_dict(), protocol.zeros(arm), chain[-2], "")
    two_steps(ContinuedRun(paper, name, protocol, arm, protocol.seed, start))
