"""The Lightning core against a bare PyTorch loop: the plain network of GhostNet's protocol `mini`, on embedded digits.

The network is small, so that what the core does around each step shows. Both sides train two epochs on the same data
module (order, batches, augmentation) with the same optimiser and schedule, and pass over the test split after each
epoch; the core runs as `python -m shared.training` does. What is timed is the median step, from one forward pass to the
next; neither the pass over the test split nor the core's resume checkpoint is.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from shared import datasets
from shared.datasets.loader import EpochLoader
from shared.datasets.order import training_batches
from shared.files import ROOT
from shared.training.fit import ClassificationRun
from shared.training.optim import build_optimiser, learning_rate_factor
from shared.training.protocol import Arm, Protocol, load_protocol
from shared.training.run import train_run
from tests.benchmarks.runner import Contest

ARM = "vgg16"


@dataclass(frozen=True)
class Clock:
    """When each forward pass began, as the network itself sees it, and whether it was one of training."""

    passes: list[tuple[bool, float]] = field(default_factory=list)

    def watch(self, model: nn.Module) -> nn.Module:
        """Note the passes of `model`."""
        model.register_forward_pre_hook(lambda module, _: self.passes.append((module.training, time.perf_counter())))
        return model

    def step(self) -> float:
        """Median seconds from one training step to the next of the same epoch."""
        pairs = itertools.pairwise(self.passes)
        return statistics.median(after - before for (one, before), (next_, after) in pairs if one and next_)


@dataclass(frozen=True)
class TimedRun(ClassificationRun):
    """A run whose network carries a clock."""

    clock: Clock = field(default_factory=Clock)

    def build(self) -> nn.Module:
        """The network of the arm."""
        return self.clock.watch(super().build())


def contests(tiny: bool) -> list[Contest]:
    """Training with the batch size of `mini`, and with that of the CIFAR recipes; `tiny` takes a thinner network."""
    protocol = load_protocol(ROOT / "papers" / "ghostnet" / "params.yaml", "mini")
    if tiny:
        protocol = protocol.model_copy(update={"arms": {ARM: Arm(builder="vgg16", args={"width": 1 / 64})}})

    def side(train: Callable[[Protocol], Clock], batch_size: int) -> float:
        recipe = protocol.recipe.model_copy(update={"epochs": 2, "batch_size": batch_size})
        return train(protocol.model_copy(update={"recipe": recipe})).step() / batch_size

    return [
        Contest(
            f"VGG-16 at an eighth of its width, 28 x 28, batch {batch_size}",
            {
                "Lightning core": functools.partial(side, lightning, batch_size),
                "bare loop": functools.partial(side, bare, batch_size),
            },
            turns=1 if tiny else 7,
            goal=0.97,
        )
        for batch_size in ((500,) if tiny else (protocol.recipe.batch_size, 128))
    ]


def lightning(protocol: Protocol) -> Clock:
    """The core, in a folder of its own."""
    run = TimedRun("ghostnet", "mini", protocol, ARM, protocol.seed)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        train_run(run, Path(folder) / ARM / "seeds" / "0")
    torch.use_deterministic_algorithms(False)  # a run leaves them on, for the bare loop too
    return run.clock


def bare(protocol: Protocol) -> Clock:
    """The same training as one would write it by hand."""
    run = TimedRun("ghostnet", "mini", protocol, ARM, protocol.seed)
    recipe = run.recipe
    data = datasets.datamodule(protocol.data, batch_size=recipe.batch_size, augment=recipe.augment, seed=protocol.seed)
    data.setup()
    model = run.build()
    optimiser = build_optimiser(model, recipe.optimiser)
    steps = len(data.train_dataloader())
    assert recipe.epochs is not None
    factor = functools.partial(
        learning_rate_factor, recipe.schedule, steps_per_epoch=steps, total_steps=recipe.epochs * steps
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    for epoch in range(recipe.epochs):
        model.train()
        order = training_batches(data.length("train"), recipe.batch_size, seed=protocol.seed, epoch=epoch)
        for batch in EpochLoader(data.dataset("train", epoch), order):
            images, targets = data.transform(batch, training=True, epoch=epoch)
            optimiser.zero_grad()
            functional.cross_entropy(model(images), targets).backward()
            optimiser.step()
            schedule.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for batch in data.val_dataloader():
                images, labels = data.transform(batch, training=False)
                correct += int((model(images).argmax(1) == labels).sum())
    return run.clock
