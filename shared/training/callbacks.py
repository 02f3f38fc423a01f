"""What happens beside the training step: the curves, and filters that are set to zero between epochs."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from shared.training.task import ClassificationTask


class Curves(pl.Callback):
    """One row an epoch: learning rate, losses, accuracies. Rows are part of the resume checkpoint.

    The test accuracies are there to be looked at; nothing is selected by them.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Lightning has run the epoch's pass over the test split by now."""
        assert isinstance(task, ClassificationTask)
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        row["train_loss"] = round(float(task.train_loss.compute()), 6)
        row |= {f"test_{name}": value for name, value in task.test_metrics().items()}
        self.rows.append(row)

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of the interrupted run."""
        self.rows = list(state_dict["rows"])


class SoftFilters(pl.Callback):
    """Soft filter pruning: zero, but go on training, what is smallest (He et al., IJCAI 2018, algorithm 1).

    After every epoch int(share * filters) filters of each convolution, those with the smallest L2 norm, become zero.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def on_train_epoch_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Set the smallest filters to zero."""
        for layer in task.modules():
            if isinstance(layer, nn.Conv2d):
                norms = layer.weight.detach().flatten(1).norm(dim=1)
                with torch.no_grad():
                    layer.weight[norms.argsort(stable=True)[: int(self.share * len(norms))]] = 0
