"""What happens beside the training step: the curves, and the file that a run goes on from."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.plugins.io import CheckpointIO

from shared.training.classifier import Classifier
from shared.training.resume import keep, kept


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


class Together(pl.Callback):
    """What ends the first process ends those that it started: they would wait for it, and fail at length."""

    def on_exception(self, trainer: pl.Trainer, classifier: pl.LightningModule, exception: BaseException) -> None:
        """Nothing is lost: the first process alone writes."""
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)


class ResumeFile(CheckpointIO):
    """Lightning's own way lets a kill in the middle leave half a file where /tmp is another disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """See `keep`."""
        keep(Path(path), checkpoint)

    def load_checkpoint(self, path: str | Path, *_: Any, **options: Any) -> dict[str, Any]:
        """See `kept`."""
        return kept(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Nothing asks for it: the one file is written over."""
        raise NotImplementedError
