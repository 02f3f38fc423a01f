"""What happens beside MMDetection's training step: learning rate, method, curves, resuming, divergence."""

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
from mmengine.dist import all_reduce, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from shared.detection.network import DetectorNetwork
from shared.detection.recipe import DetectionRecipe, read_recipe
from shared.errors import PapertrailError, UsageError
from shared.training.optim import learning_rate_factor
from shared.training.resume import keep, kept


class Diverged(Exception):
    """Ends the training of a run whose recipe takes a loss that is not finite for a result."""


@HOOKS.register_module()
class RecipeHook(Hook):
    """Follows a recipe where MMEngine has ways of its own: the learning rate of every step, and the paper's method.

    Args:
        paper: the slug; a recipe's method is one of that paper's.
        recipe: as params.yaml has it.
    """

    network: DetectorNetwork

    def __init__(self, paper: str, recipe: DetectionRecipe | dict[str, Any]) -> None:
        self.recipe = recipe if isinstance(recipe, DetectionRecipe) else read_recipe(paper, recipe)

    def before_train(self, runner: Runner) -> None:
        """Let the method take part; its part in a step itself is the optimiser's."""
        self.network = DetectorNetwork(runner.model.module if is_model_wrapper(runner.model) else runner.model, {})
        images = len(runner.train_dataloader.dataset)
        if self.recipe.batch_size > images:
            raise UsageError(f"recipe.batch_size: {self.recipe.batch_size} of {images} training images; lower it")
        self.recipe.check_length(len(runner.train_dataloader))
        if self.recipe.method is not None:
            self.network.detector.register_forward_hook(self._with_term, with_kwargs=True)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The recipe's learning rate for this step, in each group of parameters."""
        steps = len(runner.train_dataloader)
        factor = learning_rate_factor(self.recipe.schedule, runner.iter, steps, self.recipe.length(steps))
        for group in runner.optim_wrapper.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def after_train_epoch(self, runner: Runner) -> None:
        """The method's part."""
        if self.recipe.method is not None:
            self.recipe.method.after_epoch(self.network)

    def _with_term(self, _: Any, args: Any, options: dict[str, Any], losses: Any) -> Any:
        """The losses of a detector, and the method's term."""
        assert self.recipe.method is not None
        term = self.recipe.method.loss(self.network) if options.get("mode") == "loss" else None
        return losses if term is None else losses | {"loss_method": term}


class Progress(RecipeHook):
    """Also keeps what a resumed run needs, so that it goes on bit by bit, and without pickled objects.

    Attributes:
        rows: one for each epoch: its number, the last learning rate and the mean of every loss, over all processes.
    """

    priority = "VERY_LOW"  # what is kept is what every other hook left

    def __init__(self, paper: str, recipe: DetectionRecipe, seed: int, resume: Path) -> None:
        super().__init__(paper, recipe)
        self.seed = seed
        self.resume = resume
        self.rows: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        """Go on where an interrupted run left off; the first process tells the others where."""
        super().before_train(runner)
        left = [kept(self.resume) if is_main_process() and self.resume.exists() else None]
        broadcast_object_list(left)
        if left[0] is not None:
            state = left[0]
            self.network.detector.load_state_dict(state["model"])
            runner.optim_wrapper.optimizer.load_state_dict(state["optimiser"])
            if self.recipe.method is not None:
                self.recipe.method.load_state(state["method"])
            self.rows = state["rows"]
            runner.train_loop._epoch = len(self.rows)
            runner.train_loop._iter = int(self.rows[-1]["step"])

    def before_train_epoch(self, runner: Runner) -> None:
        """Draw an epoch's random numbers from (seed, epoch, rank) alone."""
        number = (self.seed * 1_000_003 + runner.epoch) + runner.rank * 7_919
        random.seed(number)
        np.random.seed(number % 2**32)
        torch.manual_seed(number)
        self._sums = {}

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Sum up the losses; end a run that has diverged, in every process at once."""
        names = [name for name in (outputs or {}) if "loss" in name]
        values = torch.tensor([float(outputs[name]) for name in names], device=_device(runner))
        all_reduce(values, "mean")
        losses = dict(zip(names, values.tolist(), strict=True))
        if not all(map(math.isfinite, losses.values())):
            self._end(runner, losses)
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        if os.isatty(2) and is_main_process():
            done, of = batch_idx + 1, len(runner.train_dataloader)
            line = f"epoch {runner.epoch + 1}/{self.recipe.epochs}  {done}/{of}  loss {losses.get('loss', 0):.3f}"
            print(f"\r{line}", end="\n" if done == of else "", file=sys.stderr, flush=True)

    def after_train_epoch(self, runner: Runner) -> None:
        """Keep the row, and everything that a resumed run needs, under a name it has only when it is whole."""
        super().after_train_epoch(runner)
        self._row(runner, steps=len(runner.train_dataloader))
        if not is_main_process():
            return
        state = {
            "model": self.network.detector.state_dict(),
            "optimiser": runner.optim_wrapper.optimizer.state_dict(),
            "method": self.recipe.method.state() if self.recipe.method is not None else {},
            "rows": self.rows,
        }
        keep(self.resume, state)

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
        if self._sums:  # an epoch without a step that went well has no means
            self._row(runner, steps=runner.iter - runner.epoch * len(runner.train_dataloader))
        raise Diverged


def _device(runner: Runner) -> torch.device:
    return next(runner.model.parameters()).device
