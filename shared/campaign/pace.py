"""How fast an arm trains here: the run itself, as it would go, for a few steps at a time, in a process of its own.

The process and the one that asks speak in lines. When an arm is warm (kernels are chosen, the step is captured where it
can be), the process tells how long the whole run is. Then each `ROUND` that it hears has it train some steps more and
tell how long they took, and `END` has it end the epoch there, and tell how long that took: the pass over the test split
and the file that a run goes on from.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from shared.training.command import quiet
from shared.training.fit import ClassificationRun
from shared.training.plan import CONTINUED
from shared.training.protocol import protocol_with
from shared.training.run import run_of

ROUND, END = "round", "end"
WARM_UP = 10  # steps; a step that can be captured is by then
STEPS = 25  # in a round
LONGEST = 5.0  # seconds of a round

Tell = Callable[[dict[str, float]], None]


def answer(slug: str, name: str, arms: Sequence[str]) -> None:
    """Tell of one arm after another what is asked on standard input, on standard output; what runs print goes to the
    standard error."""
    quiet()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w") as stream, contextlib.redirect_stdout(sys.stderr):

        def tell(found: dict[str, float]) -> None:
            print(json.dumps(found), file=stream, flush=True)

        for arm in arms:
            run = _run(slug, name, arm)
            with tempfile.TemporaryDirectory() as folder:
                run.fit(Path(folder), [Pace(lambda: sys.stdin.readline().strip(), tell)])


def _run(slug: str, name: str, arm: str) -> ClassificationRun:
    """The run of an arm; of one that continues another, with what an untrained chain of arms ends with."""
    protocol = protocol_with(slug, name, arm)
    if not protocol.arms[arm].continues:
        run = run_of(slug, name, protocol, arm, protocol.seed)
    else:
        run = importlib.import_module(CONTINUED).untrained(slug, name, protocol, arm)
    assert isinstance(run, ClassificationRun)
    return run


class Pace(pl.Callback):
    """Trains in rounds; see the module.

    Args:
        hear: the next word, empty when nobody asks any more.
        tell: what was found.
    """

    def __init__(self, hear: Callable[[], str], tell: Tell) -> None:
        self.hear, self.tell = hear, tell
        self.epochs = 0
        self.warm = False
        self._begin()

    def on_train_start(self, trainer: pl.Trainer, classifier: pl.LightningModule) -> None:
        """However short the run would be: it ends when it is told to."""
        self.epochs, trainer.fit_loop.max_epochs = trainer.max_epochs or 0, -1

    def on_train_batch_end(self, trainer: pl.Trainer, classifier: pl.LightningModule, *what: Any) -> None:
        """Count, and at the end of a round tell and ask."""
        self.steps += 1
        long = time.perf_counter() - self.began > LONGEST
        if not (self.steps >= STEPS or long if self.warm else self.steps >= WARM_UP):
            return
        _wait(classifier.device)
        if self.warm:
            self.tell({"steps": self.steps, "seconds": time.perf_counter() - self.began})
        else:
            self.tell({"steps": trainer.num_training_batches, "epochs": self.epochs})
        self.warm = True
        trainer.should_stop = self.hear() != ROUND
        self._begin()

    def on_train_end(self, trainer: pl.Trainer, classifier: pl.LightningModule) -> None:
        """The epoch is over, its file is written."""
        _wait(classifier.device)
        self.tell({"seconds": time.perf_counter() - self.began})

    def _begin(self) -> None:
        self.steps, self.began = 0, time.perf_counter()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
