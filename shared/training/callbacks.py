"""What happens beside the training step: the curves, and the file that a run goes on from."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.plugins.io import CheckpointIO
from torch import Tensor

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
        row["lr"] = classifier.learning_rate(trainer.global_step)
        row["train_loss"] = round(float(classifier.train_loss.compute()), 6)
        self.rows.append(row | classifier.tested())

    def state_dict(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the rows of the interrupted run."""
        self.rows = list(state_dict["rows"])


class Averages(EMAWeightAveraging):
    """The exponential moving average of the weights, on a GPU where the network is.

    Lightning's own stays on the CPU, where the network is when it is set up, and in every step waits for all that a
    GPU has to do. Here a GPU averages numbers that are not whole, and copies the others; a CPU does as Lightning does.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(decay=decay)
        self.decay = decay
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def setup(self, trainer: pl.Trainer, classifier: pl.LightningModule, stage: str) -> None:
        """Begin with the network as it is."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, classifier, stage)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, classifier: pl.LightningModule, *what: Any) -> None:
        """Average after every step of the optimiser; the first one is the average so far."""
        if classifier.device.type == "cpu":
            super().on_train_batch_end(trainer, classifier, *what)
            return
        if trainer.global_step == self._latest_update_step:
            return
        assert self._average_model is not None
        if not self._pairs:
            both = self._average_model.module, classifier
            averages, trained = ([*one.parameters(), *one.buffers()] for one in both)
            self._pairs = list(zip(averages, trained, strict=True))
        moved = [pair for pair in self._pairs if pair[0].is_floating_point() and self._latest_update_step]
        if moved:
            torch._foreach_lerp_([average for average, _ in moved], [now for _, now in moved], 1 - self.decay)
        for average, now in self._pairs:
            if not (moved and average.is_floating_point()):
                average.copy_(now)
        self._average_model.n_averaged += 1
        self._latest_update_step = trainer.global_step


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
