"""What happens beside MMDetection's training step: the learning rate, the curves, resuming, divergence."""

from __future__ import annotations

import math
import os
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from shared.errors import PapertrailError
from shared.files import atomic_write
from shared.layers.adaptive import adaptive_gradients
from shared.training.optim import learning_rate_factor
from shared.training.recipe import DetectionRecipe


@HOOKS.register_module()
class AdaptiveGradients(Hook):
    """Gives adder layers their adaptive gradients where a configuration file trains; see `adaptive_gradients`."""

    def before_train(self, runner: Runner) -> None:
        """The optimiser exists by now."""
        adaptive_gradients(runner.optim_wrapper.optimizer, runner.model)


class Diverged(Exception):
    """Ends the training of a run whose recipe takes a loss that is not finite for a result."""


class Progress(Hook):
    """Follows our recipe where MMEngine has an own way that stores pickled objects or cannot be resumed bit by bit.

    Attributes:
        rows: one for each epoch: its number, the last learning rate and the mean of every loss.
        diverged: whether the loss stopped being finite.
    """

    def __init__(self, recipe: DetectionRecipe, seed: int, resume: Path) -> None:
        self.recipe = recipe
        self.seed = seed
        self.resume = resume
        self.rows: list[dict[str, float]] = []
        self.diverged = False
        self._sums: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Go on where an interrupted run left off."""
        if self.resume.exists():
            state = torch.load(self.resume, map_location="cpu", weights_only=True)
            runner.model.load_state_dict(state["model"])
            runner.optim_wrapper.optimizer.load_state_dict(state["optimiser"])
            self.rows = state["rows"]
            runner.train_loop._epoch = len(self.rows)
            runner.train_loop._iter = len(self.rows) * len(runner.train_dataloader)

    def before_train_epoch(self, runner: Runner) -> None:
        """Draw an epoch's random numbers from (seed, epoch) alone."""
        number = self.seed * 1_000_003 + runner.epoch
        random.seed(number)
        np.random.seed(number % 2**32)
        torch.manual_seed(number)
        self._sums = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The recipe's learning rate for this step."""
        steps = len(runner.train_dataloader)
        factor = learning_rate_factor(self.recipe.schedule, runner.iter, steps, self.recipe.epochs * steps)
        for group in runner.optim_wrapper.optimizer.param_groups:
            group["lr"] = self.recipe.optimiser.lr * factor

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Sum up the losses; end a run that has diverged."""
        losses = {name: float(value) for name, value in (outputs or {}).items() if "loss" in name}
        if not all(map(math.isfinite, losses.values())):
            self._end(runner, losses)
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if os.isatty(2):
            done, of = batch_idx + 1, len(runner.train_dataloader)
            line = f"epoch {runner.epoch + 1}/{self.recipe.epochs}  {done}/{of}  loss {losses.get('loss', 0):.3f}"
            print(f"\r{line}", end="\n" if done == of else "", file=sys.stderr, flush=True)

    def after_train_epoch(self, runner: Runner) -> None:
        """Keep the row, and everything that a resumed run needs, under a name it has only when it is whole."""
        self._row(runner, steps=len(runner.train_dataloader))
        state = {
            "model": runner.model.state_dict(),
            "optimiser": runner.optim_wrapper.optimizer.state_dict(),
            "rows": self.rows,
        }
        with atomic_write(self.resume, "wb") as stream:
            torch.save(state, stream)

    def _row(self, runner: Runner, steps: int) -> None:
        rate = runner.optim_wrapper.optimizer.param_groups[0]["lr"]
        row: dict[str, float] = {"epoch": runner.epoch + 1, "step": runner.iter, "lr": rate}
        self.rows.append(row | {f"train_{name}": round(value / steps, 6) for name, value in self._sums.items()})

    def _end(self, runner: Runner, losses: dict[str, float]) -> None:
        worst = ", ".join(f"{name} {value}" for name, value in losses.items() if not math.isfinite(value))
        if not self.recipe.evaluate_divergence:
            raise PapertrailError(
                f"{worst} at step {runner.iter} (epoch {runner.epoch}); lower recipe.optimiser.lr, lengthen "
                "schedule.warmup_epochs or set recipe.clip"
            )
        self.diverged = True
        self._row(runner, steps=max(runner.iter - runner.epoch * len(runner.train_dataloader), 1))
        raise Diverged
