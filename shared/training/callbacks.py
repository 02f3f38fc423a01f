"""What happens beside the training step: the curves."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from shared.training.classifier import Classifier


class Curves(pl.Callback):
    """One row an epoch: learning rate, losses, accuracies. Rows are part of the resume checkpoint.

    The test accuracies are there to be looked at; nothing is selected by them.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, classifier: pl.LightningModule) -> None:
        """Lightning has run the epoch's pass over the test split by now."""
        assert isinstance(classifier, Classifier)
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        row["train_loss"] = round(float(classifier.train_loss.compute()), 6)
        self.rows.append(row | classifier.tested())

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of the interrupted run."""
        self.rows = list(state_dict["rows"])
