"""The training step of a classifier as one CUDA graph: forward pass, loss, backward pass, clipping and optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from shared.training.classification import ClassificationRecipe
from shared.training.classifier import Classifier
from shared.training.graph import Captured, Graphs, first_cause
from shared.training.method import Method
from shared.training.optim import make_capturable, plain
from shared.training.recipe import Hardware

IN_THE_STEP = ("loss", "before_step", "after_step")  # hooks of a method


class CapturedClassifier(Classifier):
    """A classifier whose step is captured.

    Lightning drives it as it drives any other: its hooks come in their places, its schedule fills the learning rate,
    and a batch is augmented before the step. Only what a step does is repeated as a whole where Lightning asks for the
    first part of it, and the other parts do nothing. A batch of another size, the last one of an epoch, is trained
    eagerly, and so is every batch when the step cannot be captured, which one line tells.

    Args:
        graphs: makes, for the device, what records.
        options: see `Classifier`.
    """

    def __init__(self, *what: Any, graphs: Callable[[torch.device], Graphs], **options: Any) -> None:
        super().__init__(*what, **options)
        self._graphs = graphs
        self._step: Captured | None = None
        self._captured = False  # the step of the batch at hand

    def on_train_start(self) -> None:
        """The optimiser's state has been resumed by now."""
        if self.device.type == "cuda":
            make_capturable(self._optimiser)
        self._step = Captured(self._whole_step, self._graphs(self.device))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Record, when the first batches have been rehearsals."""
        self._captured = self._step is not None and self._step.fits(batch)
        if self._captured and self._step is not None and self._step.due:
            try:
                self._step.record()
            except Exception as error:  # of whatever the network is made of; its rehearsals went well
                tell_eager(first_cause(error))
                self._step, self._captured = None, False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """See `Classifier`; the whole step, where it is captured."""
        if not self._captured or self._step is None:
            return super().training_step(batch, batch_idx)
        loss = self._step(*batch)
        self.watch(loss)
        return loss

    def backward(self, loss: Tensor, *what: Any, **options: Any) -> None:
        """Part of the captured step."""
        if not self._captured:
            super().backward(loss, *what, **options)

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        """Part of the captured step, which the closure calls."""
        if self._captured:
            optimizer_closure()
        else:
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def on_train_end(self) -> None:
        """Free the graph's memory."""
        self._step = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What is resumed may be trained eagerly."""
        super().on_save_checkpoint(checkpoint)
        for state in checkpoint["optimizer_states"]:
            plain(state["param_groups"])

    def _whole_step(self, images: Tensor, targets: Tensor) -> Tensor:
        """The loss; the parameters have moved."""
        optimiser = self._optimiser
        # Lightning's autocast is around all of this, but a backward pass has no place in it.
        with torch.autocast(self.device.type, enabled=False):
            with self.trainer.precision_plugin.forward_context():
                loss, minimised = self.losses(images, targets)
            optimiser.zero_grad()
            minimised.backward()
            self.configure_gradient_clipping(optimiser, self.recipe.clip)
            optimiser.step()
        return loss.detach()

    @property
    def _optimiser(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]


def obstacle(recipe: ClassificationRecipe, hardware: Hardware) -> str | None:
    """Why a step of these cannot be captured, where that is known beforehand."""
    if hardware.devices * hardware.nodes > 1:
        return "several processes share it"
    if hardware.precision == "16-mixed":
        return "Python follows the scale of `precision: 16-mixed`"
    if recipe.accumulate > 1:
        return "`accumulate` makes one step of several batches"
    method = recipe.method
    if method is not None and not method.capturable:
        own = [hook for hook in IN_THE_STEP if getattr(type(method), hook) is not getattr(Method, hook)]
        if own:
            return f"the method `{method.name}` does not say that a graph can hold its {' and '.join(own)}"
    return None


def tell_eager(reason: str) -> None:
    """One line."""
    print(f"trained eagerly, the step is no CUDA graph: {reason}", flush=True)
