"""The Lightning core against a bare PyTorch loop: the plain network of GhostNet's protocol `mini`, on embedded digits.

The network is small, so that what the core does around each step shows. Both sides train two epochs on the same data
module (order, batches, augmentation) with the same optimiser and schedule, and pass over the test split after each
epoch; the core runs as `python -m shared.training` does. What is timed is the median step, from one forward pass to the
next; neither the pass over the test split nor the core's resume checkpoint is.

Where there is a GPU, VGG-16 and ResNet-56 at full width are trained on it too, eagerly and with each step as one CUDA
graph. There the time is that between the same two points of successive steps as the GPU comes by them.
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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared import datasets
from shared.datasets.loader import EpochLoader
from shared.datasets.memory import ImageDataModule
from shared.datasets.order import training_batches
from shared.files import ROOT
from shared.training.classifier import Classifier
from shared.training.fit import ClassificationRun
from shared.training.optim import build_optimiser, learning_rate_factor, make_capturable
from shared.training.protocol import Arm, Protocol, load_protocol
from shared.training.recipe import Hardware
from shared.training.run import train_run
from tests.benchmarks.cuda_graph import captured
from tests.benchmarks.runner import Contest, Side

ARM = "vgg16"
BATCH = 128  # on a GPU


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


class Ticks:
    """When a GPU came to the beginning of each training step, behind the augmentation of its batch."""

    def __init__(self) -> None:
        self.events: list[tuple[int, torch.cuda.Event]] = []

    def tick(self, epoch: int) -> None:
        """Now, on the current stream."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self.events.append((epoch, event))

    def step(self) -> float:
        """Median seconds from one step to the next of the same epoch; in the first one kernels are chosen."""
        torch.cuda.synchronize()
        pairs = itertools.pairwise(self.events)
        return statistics.median(
            before.elapsed_time(after) / 1000 for (epoch, before), (next_, after) in pairs if 0 < epoch == next_
        )


@dataclass(frozen=True)
class TickingRun(ClassificationRun):
    """A run that notes its steps on a GPU, which asks the network for nothing where a graph is repeated."""

    ticks: Ticks = field(default_factory=Ticks)

    def _classifier(self, *what: Any) -> Classifier:
        classifier = super()._classifier(*what)
        begin = classifier.on_train_batch_start

        def noted(batch: Any, batch_idx: int) -> None:
            self.ticks.tick(classifier.current_epoch)
            begin(batch, batch_idx)

        classifier.on_train_batch_start = noted  # type: ignore[method-assign]
        return classifier


def contests(tiny: bool) -> list[Contest]:
    """Training with the batch size of `mini`, and with that of the CIFAR recipes; `tiny` takes a thinner network."""
    protocol = load_protocol(ROOT / "papers" / "ghostnet" / "params.yaml", "mini")
    if tiny:
        protocol = protocol.model_copy(update={"arms": {ARM: Arm(builder="vgg16", args={"width": 1 / 64})}})

    def side(train: Callable[[Protocol], Clock], batch_size: int) -> float:
        recipe = protocol.recipe.model_copy(update={"epochs": 2, "batch_size": batch_size})
        return train(protocol.model_copy(update={"recipe": recipe})).step() / batch_size

    on_a_cpu = [
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
    return [*on_a_cpu, *(gpu_contests(protocol, tiny) if torch.cuda.is_available() else [])]


def gpu_contests(protocol: Protocol, tiny: bool) -> list[Contest]:
    """Both networks, eager and captured; `tiny` takes shorter runs of one."""
    found = []
    for name, builder in (("VGG-16", "vgg16"), ("ResNet-56", "resnet56"))[: 1 if tiny else 2]:
        for graph in (False, True):
            hardware = Hardware(accelerator="gpu", precision="bf16-mixed", channels_last=True, graph=graph)
            recipe = protocol.recipe.model_copy(update={"epochs": 2 if tiny else 5, "batch_size": BATCH})
            arms = {ARM: Arm(builder=builder)}
            one = protocol.model_copy(update={"arms": arms, "trainer": hardware, "recipe": recipe})

            def side(train: Callable[[Protocol], Ticks], one: Protocol = one) -> float:
                return train(one).step() / BATCH

            sides: dict[str, Side] = {
                "Lightning core": functools.partial(side, lightning_on_gpu),
                "bare loop": functools.partial(side, bare_on_gpu),
            }
            how = "captured" if graph else "eager"
            what = f"{name}, 28 x 28, batch {BATCH}, bf16, {how}, on a GPU"
            found.append(Contest(what, sides, turns=1 if tiny else 5, goal=0.95))
    return found


def lightning(protocol: Protocol) -> Clock:
    """The core, in a folder of its own."""
    run = TimedRun("ghostnet", "mini", protocol, ARM, protocol.seed)
    trained(run)
    return run.clock


def lightning_on_gpu(protocol: Protocol) -> Ticks:
    """The core on a GPU."""
    run = TickingRun("ghostnet", "mini", protocol, ARM, protocol.seed)
    trained(run)
    return run.ticks


def trained(run: ClassificationRun) -> None:
    """By the core, as its command does it, which says nothing here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        train_run(run, Path(folder) / ARM / "seeds" / "0")
    torch.use_deterministic_algorithms(False)  # a run leaves them on, for the bare loop too


def data_of(run: ClassificationRun) -> ImageDataModule:
    """What both sides train on."""
    recipe, data = run.recipe, run.protocol.data
    module = datasets.datamodule(data, batch_size=recipe.batch_size, augment=recipe.augment, seed=run.seed)
    module.setup()
    return module


def optimiser_of(
    run: ClassificationRun, model: nn.Module, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """The recipe's optimiser, and its schedule over so many steps an epoch."""
    recipe = run.recipe
    assert recipe.epochs is not None
    optimiser = build_optimiser(model, recipe.optimiser)
    factor = functools.partial(
        learning_rate_factor, recipe.schedule, steps_per_epoch=steps, total_steps=recipe.epochs * steps
    )
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


def bare(protocol: Protocol) -> Clock:
    """The same training as one would write it by hand."""
    run = TimedRun("ghostnet", "mini", protocol, ARM, protocol.seed)
    recipe, data = run.recipe, data_of(run)
    model = run.build()
    optimiser, schedule = optimiser_of(run, model, len(data.train_dataloader()))
    assert recipe.epochs is not None
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


def bare_on_gpu(protocol: Protocol) -> Ticks:
    """The same on a GPU, the step by hand in a CUDA graph where the protocol says so."""
    ticks, device = Ticks(), torch.device("cuda")
    run = ClassificationRun("ghostnet", "mini", protocol, ARM, protocol.seed)
    recipe, data = run.recipe, data_of(run)
    torch.backends.cudnn.benchmark = True
    model = run.build().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser, schedule = optimiser_of(run, model, len(data.train_dataloader()))
    assert recipe.epochs is not None

    def step(images: Tensor, targets: Tensor) -> None:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            loss = functional.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    repeat: Callable[[Tensor, Tensor], None] | None = None
    for epoch in range(recipe.epochs):
        model.train()
        order = training_batches(data.length("train"), recipe.batch_size, seed=protocol.seed, epoch=epoch)
        for batch in EpochLoader(data.dataset("train", epoch), order, pin=True):
            on_device = tuple(part.to(device, non_blocking=True) for part in batch)
            images, targets = data.transform(on_device, training=True, epoch=epoch)
            ticks.tick(epoch)
            whole = len(images) == recipe.batch_size
            if protocol.trainer.graph and whole and repeat is None:
                make_capturable(optimiser)
                repeat = repeated(step, images, targets)
            (repeat if repeat is not None and whole else step)(images, targets)
            schedule.step()
        model.eval()
        with torch.no_grad():
            for batch in data.val_dataloader():
                images, _ = data.transform(tuple(part.to(device) for part in batch), training=False)
                model(images)
    return ticks


def repeated(
    step: Callable[[Tensor, Tensor], None], images: Tensor, targets: Tensor
) -> Callable[[Tensor, Tensor], None]:
    """The step as a CUDA graph; its rehearsals are steps as well, which no clock minds."""
    own = images.clone(), targets.clone()
    replay = captured(lambda: step(*own))

    def repeat(images: Tensor, targets: Tensor) -> None:
        own[0].copy_(images)
        own[1].copy_(targets)
        replay()

    return repeat
