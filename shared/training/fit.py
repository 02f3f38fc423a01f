"""The runs of classifiers, which Lightning drives."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch import nn

from shared import datasets
from shared.errors import PapertrailError, UsageError
from shared.training.callbacks import Averages, Curves, ResumeFile, Together
from shared.training.captured import CapturedClassifier, obstacle, tell_eager
from shared.training.classification import ClassificationRecipe
from shared.training.classifier import Classifier, load_teacher
from shared.training.graph import CudaGraphs, Graphs
from shared.training.protocol import input_shape
from shared.training.recipe import Hardware
from shared.training.resume import FILE
from shared.training.run import Outcome, Run, device_name, is_planned
from shared.training.standin import stand_in

FAST_STEPS = 2


class ClassificationRun(Run):
    """One classifier with one seed."""

    @property
    def recipe(self) -> ClassificationRecipe:
        """The recipe as it is carried out."""
        recipe = super().recipe
        assert isinstance(recipe, ClassificationRecipe)  # the protocol's validator
        return recipe

    def fit(self, folder: Path, watched_by: Sequence[Callback] = ()) -> Outcome:
        """Train, going on with what an interrupted run left in `folder`; who watches is told of each step.

        DivergedError when the loss is not finite; UsageError when a batch is larger than the training split.
        """
        recipe, hardware = self.recipe, self.protocol.trainer
        data = datasets.datamodule(
            self.protocol.data,
            batch_size=recipe.batch_size,
            augment=recipe.augment,
            seed=self.seed,
            workers=hardware.workers,
        )
        data.setup()
        if recipe.batch_size > data.length("train"):
            raise UsageError(
                f"recipe.batch_size: {recipe.batch_size} of {data.length('train')} training images; lower it"
            )
        curves, averaging = Curves(), _averaging(recipe)
        trainer = _trainer(recipe, hardware, [curves, *averaging, *watched_by], folder)
        # Deterministic algorithms fill fresh memory to show who reads it uninitialised: 5 % of a step, and no one does.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        data.trainer = trainer  # it says how many processes share a batch, and so how many batches there are
        steps_per_epoch = -(-len(data.train_dataloader()) // recipe.accumulate)
        recipe.check_length(steps_per_epoch)
        trainer.fit_loop.max_epochs = -(-recipe.length(steps_per_epoch) // steps_per_epoch)
        classifier = self._classifier(steps_per_epoch, graphs(recipe, hardware, trainer))
        resume = folder / FILE
        # Asked by every rank: rank 0 may be clearing up just now.
        resumable = resume.exists() and is_planned(self, folder)
        try:
            trainer.fit(classifier, data, ckpt_path=resume if resumable else None, weights_only=True)
        except SIGTERMException as error:  # where nobody heeds a signal, Lightning ends as if all were well
            raise SystemExit(128 + signal.SIGTERM) from error
        except SystemExit as error:  # it makes one of SIGINT
            if isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            raise
        for callback in averaging:  # Lightning does so at the end of an epoch, and a resumed run may have none left
            callback.on_train_end(trainer, classifier)
        network: nn.Module = classifier.model
        changes: dict[str, Any] = {}
        if recipe.method is not None:
            network, changes = recipe.method.finish(network)
        device = device_name(trainer.strategy.root_device)
        return Outcome(network, curves.rows, len(curves.rows), device, changes)

    def two_steps(self) -> None:
        """See `Run.two_steps`; PapertrailError when a step is missing."""
        recipe, seen = self.recipe, self.spec.model_copy(update={"shape": input_shape(self.protocol, self.arm_name)})
        data = stand_in(seen, recipe.augment, steps=FAST_STEPS, seed=self.seed)
        if self.arm.prune is not None:  # nothing is trained
            data.setup()
            images, _ = data.transform(next(iter(data.test_dataloader())), training=False)
            self.build().eval()(images)
            return
        classifier = self._classifier(FAST_STEPS)
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            gradient_clip_val=recipe.clip,
            logger=False,
            callbacks=list[Callback](_averaging(recipe)),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(classifier, data)
        if trainer.global_step != FAST_STEPS:
            raise PapertrailError(f"{self}: {trainer.global_step} steps of {FAST_STEPS}")

    def _classifier(self, steps_per_epoch: int, graphs: Callable[[torch.device], Graphs] | None = None) -> Classifier:
        how = self.recipe.distil
        shape = input_shape(self.protocol, self.arm_name)
        kind = Classifier if graphs is None else functools.partial(CapturedClassifier, graphs=graphs)
        return kind(
            self.build(),
            self.recipe,
            classes=self.spec.classes,
            seed=self.seed,
            steps_per_epoch=steps_per_epoch,
            channels_last=self.protocol.trainer.channels_last,
            teacher=None if how is None else load_teacher(how.teacher, self.spec, shape),
        )


def _trainer(
    recipe: ClassificationRecipe, hardware: Hardware, callbacks: Sequence[Callback], folder: Path
) -> pl.Trainer:
    """What trains on this machine; PapertrailError when it has not what `hardware` states."""
    on_gpu = hardware.accelerator == "gpu" or (hardware.accelerator == "auto" and torch.cuda.is_available())
    if hardware.precision == "16-mixed" and not on_gpu:  # Lightning would take bfloat16 instead
        raise PapertrailError("trainer.precision: 16-mixed needs a GPU, and none is here; take 32-true")
    if hardware.graph and not on_gpu:
        raise PapertrailError("trainer.graph: a CUDA graph needs a GPU, and none is here; remove it")
    shown = [TQDMProgressBar(refresh_rate=20)] if os.isatty(2) else []
    kept = ModelCheckpoint(folder, Path(FILE).stem, save_on_train_epoch_end=True, enable_version_counter=False)
    try:
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=hardware.strategy,
            precision=hardware.precision,
            max_epochs=-1,  # known when the data are; the classifier ends `steps` within an epoch
            accumulate_grad_batches=recipe.accumulate,
            gradient_clip_val=recipe.clip,
            callbacks=[*callbacks, kept, Together(), *shown],
            plugins=[ResumeFile()],
            logger=False,
            deterministic=not on_gpu,  # bit-equal on a CPU; on a GPU only equal in distribution
            benchmark=on_gpu,
            enable_progress_bar=bool(shown),
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the data modules share each epoch out themselves
            reload_dataloaders_every_n_epochs=1,  # the order of an epoch is a function of (seed, epoch)
        )
    except MisconfigurationException as error:
        raise PapertrailError(f"trainer: {' '.join(str(error).split())} ({hardware})") from error
    place = getattr(trainer.strategy, "cluster_environment", None)  # there is none where one process trains
    if hardware.nodes > 1 and place and not place.creates_processes_externally and "MASTER_ADDR" not in os.environ:
        raise PapertrailError(
            f"trainer.nodes: {hardware.nodes} machines, of which nobody told; start it by srun or torchrun"
        )
    return trainer


def graphs(
    recipe: ClassificationRecipe, hardware: Hardware, trainer: pl.Trainer
) -> Callable[[torch.device], Graphs] | None:
    """What captures the training step; None where it is to be eager."""
    if hardware.graph is False or trainer.strategy.root_device.type != "cuda":
        return None
    reason = obstacle(recipe, hardware)
    if reason is not None:
        if trainer.global_rank == 0:
            tell_eager(reason)
        return None
    return CudaGraphs


def _averaging(recipe: ClassificationRecipe) -> list[Averages]:
    decay = recipe.ema_decay
    return [] if decay is None else [Averages(decay)]
