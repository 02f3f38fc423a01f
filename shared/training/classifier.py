"""The one Lightning module that trains every classifier."""

from __future__ import annotations

import functools
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
        self.train_loss = MeanMetric()
        self.test_loss = MeanMetric()
        self.top1 = MulticlassAccuracy(classes, average="micro")
        self.top5 = MulticlassAccuracy(classes, average="micro", top_k=min(5, classes))
        self.told: dict[str, float] = {}  # by the method, of the weights that are evaluated

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
        """Cross-entropy with label smoothing; targets are labels (N,) or class probabilities (N, classes)."""
        images, targets = batch
        logits = self(images)
        loss = functional.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
        if self.teacher is not None and self.recipe.distil is not None:
            how = self.recipe.distil
            loss = (1 - how.weight) * loss + how.weight * softened(logits, self.teacher(images), how.temperature)
        if not torch.isfinite(loss):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise DivergedError(
                f"the loss is {loss.item()} at step {self.global_step} (epoch {self.current_epoch}) "
                f"with learning rate {rate:.6g}; lower recipe.optimiser.lr or lengthen schedule.warmup_epochs"
            )
        self.train_loss.update(loss.detach())
        term = None if self.method is None else self.method.loss(self.model)
        return loss if term is None else loss + term

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """End the training with its last step; what the method does at the end of an epoch, before its evaluation."""
        if self.global_step == self.recipe.steps:
            self.trainer.should_stop = True
        if self.method is not None and (self.trainer.is_last_batch or self.trainer.should_stop):
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
