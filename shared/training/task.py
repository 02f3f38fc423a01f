"""The one Lightning task that every classification run uses."""

from __future__ import annotations

import functools

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from shared.errors import PapertrailError
from shared.layers.gates import gated_blocks
from shared.training.optim import build_optimiser, learning_rate_factor
from shared.training.recipe import Recipe

SMALL_SCALE = 0.01


class DivergedError(PapertrailError):
    """The loss is not a finite number any more."""


class ClassificationTask(pl.LightningModule):
    """Cross-entropy training of a classifier, and its top-1 and top-5 accuracy in percent.

    Args:
        model: maps images (N, C, H, W) to logits (N, classes).
        recipe: optimiser, schedule and label smoothing.
        classes: number of classes.
        seed: makes every random choice inside the network (dropout) a function of (seed, epoch, rank).
        steps_per_epoch: optimiser steps in an epoch; the schedule needs it.
        channels_last: keep images and weights in the channels-last memory format.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        classes: int,
        seed: int,
        steps_per_epoch: int,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.model: nn.Module = model.to(memory_format=self.memory_format)  # type: ignore[call-overload]
        self.recipe = recipe
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self.train_loss = MeanMetric()
        self.test_loss = MeanMetric()
        self.top1 = MulticlassAccuracy(classes, average="micro")
        self.top5 = MulticlassAccuracy(classes, average="micro", top_k=min(5, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W)."""
        return self.model(images.contiguous(memory_format=self.memory_format))

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        """The recipe's optimiser; its learning rate follows the recipe's schedule at every step."""
        optimiser = build_optimiser(self.model, self.recipe.optimiser, self.recipe.gate_l1)
        factor = functools.partial(
            learning_rate_factor,
            self.recipe.schedule,
            steps_per_epoch=self.steps_per_epoch,
            total_steps=self.recipe.steps or (self.recipe.epochs or 0) * self.steps_per_epoch,
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
        loss = functional.cross_entropy(self(images), targets, label_smoothing=self.recipe.label_smoothing)
        if not torch.isfinite(loss):
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            raise DivergedError(
                f"the loss is {loss.item()} at step {self.global_step} (epoch {self.current_epoch}) "
                f"with learning rate {rate:.6g}; lower recipe.optimiser.lr or lengthen schedule.warmup_epochs"
            )
        self.train_loss.update(loss.detach())
        if self.recipe.scale_l1:  # the derivative of |x| is taken as 0 at 0: the sub-gradient of the paper
            loss = loss + self.recipe.scale_l1 * scales(self.model).abs().sum()
        return loss

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

    def test_metrics(self) -> dict[str, float]:
        """Accuracies in percent and the mean loss of the last pass over the test split, over all ranks.

        Where the recipe states `scale_l1`: also the percentage of scales under a hundredth; where it states `gate_l1`:
        the number of gates that are not 0.
        """
        metrics = {
            "top1": round(100 * float(self.top1.compute()), 4),
            "top5": round(100 * float(self.top5.compute()), 4),
            "loss": round(float(self.test_loss.compute()), 6),
        }
        if self.recipe.scale_l1 is not None:
            metrics["small_scales"] = round(100 * float((scales(self.model).abs() < SMALL_SCALE).float().mean()), 4)
        if self.recipe.gate_l1 is not None:
            metrics["open_gates"] = sum(int(block.gate != 0) for block in gated_blocks(self.model).values())
        return metrics


def scales(network: nn.Module) -> Tensor:
    """The scales of every batch normalisation, one after the other; PapertrailError when there are none."""
    found: list[Tensor] = [
        module.weight for module in network.modules() if isinstance(module, _BatchNorm) and module.affine
    ]
    if not found:
        raise PapertrailError("recipe.scale_l1: the network has no batch normalisation with scales; leave it out")
    return torch.cat(found)
