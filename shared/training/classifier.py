"""The one Lightning module that trains every classifier."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from shared import datasets
from shared.datasets import DatasetSpec
from shared.errors import PapertrailError, UsageError
from shared.training.classification import ClassificationRecipe
from shared.training.optim import build_optimiser, learning_rate_factor
from shared.weights.load import load_checkpoint

Teacher = Callable[[Tensor], Tensor]

# Batches after which a loss that is not finite is noticed, at the latest: whoever looks at a number waits for all that
# a GPU has still to do.
LOOK = {"cpu": 1, "cuda": 50}


class DivergedError(PapertrailError):
    """The loss is not a finite number any more."""


class Classifier(pl.LightningModule):
    """Cross-entropy training of a classifier by its recipe and method, and its accuracy on the test split as it learns.

    Args:
        model: maps images (N, C, H, W) to logits (N, classes).
        recipe: optimiser, schedule, method and losses.
        classes: number of classes.
        seed: makes every random choice inside the network (dropout) a function of (seed, epoch, rank).
        steps_per_epoch: optimiser steps in an epoch; the schedule needs it.
        channels_last: keep images and weights in the channels-last memory format.
        teacher: gives the logits that are learned from, where the recipe distils.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: ClassificationRecipe,
        *,
        classes: int,
        seed: int,
        steps_per_epoch: int,
        channels_last: bool = False,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self.method = recipe.method
        if self.method is not None:
            self.method.attach(model)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.recipe = recipe
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self.teacher = teacher
        self.train_loss = MeanMetric(nan_strategy="disable")  # to look for a NaN is to wait for the GPU
        self.test_loss = MeanMetric()
        self.top1 = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.top5 = MulticlassAccuracy(classes, average="micro", top_k=min(5, classes), validate_args=False)
        self.told: dict[str, float] = {}  # by the method, of the weights that are evaluated
        self._unseen: list[tuple[int, Tensor]] = []  # optimiser steps, and losses that may not be there yet

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        return self.model(images.contiguous(memory_format=self.memory_format))

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """The recipe's optimiser; its learning rate follows the recipe's schedule at every step."""
        optimiser = build_optimiser(self.model, self.recipe.optimiser, self.method)
        factor = functools.partial(
            learning_rate_factor,
            self.recipe.schedule,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.recipe.length(self.steps_per_epoch),
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Seed what is drawn inside the network, so that a resumed epoch draws what the killed one drew."""
        torch.manual_seed((self.seed * 1_000_003 + self.current_epoch) * 1_009 + self.global_rank)
        self.train_loss.reset()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """What is minimised; DivergedError, see `watch`."""
        loss, minimised = self.losses(*batch)
        self.watch(loss)
        return minimised

    def losses(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and what is minimised: the loss and the method's term.

        The loss is cross-entropy with label smoothing, and what is distilled; targets are labels (N,) or class
        probabilities (N, classes).
        """
        logits = self(images)
        loss = functional.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        if self.teacher is not None and self.recipe.distil is not None:
            how = self.recipe.distil
            loss = (1 - how.weight) * loss + how.weight * softened(logits, self.teacher(images), how.temperature)
        term = None if self.method is None else self.method.loss(self.model)
        return loss, loss if term is None else loss + term

    def watch(self, loss: Tensor) -> None:
        """Note a batch's loss; DivergedError where one is not finite, after LOOK batches or at the end of an epoch."""
        self._unseen.append((self.global_step, loss.detach()))
        if len(self._unseen) >= LOOK.get(loss.device.type, 1):
            self._look()
        self.train_loss.update(loss.detach())

    def _look(self) -> None:
        noted, self._unseen = self._unseen, []
        losses = torch.stack([loss for _, loss in noted]).tolist() if noted else []
        for (step, _), loss in zip(noted, losses, strict=True):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss is {loss} at step {step} (epoch {self.current_epoch}) "
                    f"with learning rate {self.learning_rate(step):.6g}; "
                    "lower recipe.optimiser.lr or lengthen schedule.warmup_epochs"
                )

    def learning_rate(self, step: int) -> float:
        """That of the first group of parameters, as the schedule has it at an optimiser step."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, torch.optim.lr_scheduler.LambdaLR)
        return float(schedule.base_lrs[0] * schedule.lr_lambdas[0](step))

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the training with its last step; what the method does at the end of an epoch, before its evaluation."""
        if self.global_step == self.recipe.steps:
            self.trainer.should_stop = True
        if self.trainer.is_last_batch or self.trainer.should_stop:
            self._look()  # before anything is written of this epoch
            if self.method is not None:
                self.method.after_epoch(self.model)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Sum up loss and accuracies over the test split."""
        images, labels = batch
        logits = self(images)
        self.test_loss.update(functional.cross_entropy(logits, labels), weight=len(labels))
        self.top1.update(logits, labels)
        self.top5.update(logits, labels)

    def on_validation_epoch_start(self) -> None:
        """Begin the sums anew."""
        for metric in (self.test_loss, self.top1, self.top5):
            metric.reset()
        self.told = {} if self.method is None else self.method.metrics(self.model)

    def tested(self) -> dict[str, float]:
        """Columns of the curves: accuracies in percent, mean loss, what the method tells, of the last evaluation."""
        metrics = {
            "top1": round(100 * float(self.top1.compute()), 4),
            "top5": round(100 * float(self.top5.compute()), 4),
            "loss": round(float(self.test_loss.compute()), 6),
        }
        return {f"test_{name}": value for name, value in (metrics | self.told).items()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The method's state is part of the resume checkpoint."""
        checkpoint["method"] = {} if self.method is None else self.method.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the method's state."""
        if self.method is not None:
            self.method.load_state(checkpoint["method"])


def softened(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(teacher || student), the mean over a batch, of logits (N, classes) that are divided by T."""
    return temperature**2 * functional.kl_div(
        functional.log_softmax(student / temperature, 1),
        functional.log_softmax(teacher / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )


def load_teacher(ref: str, spec: DatasetSpec, shape: tuple[int, int, int]) -> Teacher:
    """A kept checkpoint as a function from images (N, C, H, W) to logits (N, classes), on whatever device they are.

    A function, and no module, so that the teacher is neither trained nor averaged nor saved. UsageError when it was
    made for other classes, another input, or images that are normalised otherwise than the student's, which it sees.
    """
    network, card = load_checkpoint(ref)
    own = datasets.spec(card.data)
    made, wanted = (
        f"{classes} classes and images {tuple(size)} of mean {one.mean} and deviation {one.std}"
        for classes, size, one in ((card.classes, card.input, own), (spec.classes, shape, spec))
    )
    if made != wanted:
        raise UsageError(f"recipe.distil.teacher: {ref} is for {made}, the student for {wanted}")

    def answer(images: Tensor) -> Tensor:
        with torch.no_grad():
            return network.to(images.device)(images)

    return answer
