"""Training a detector: MMDetection's Runner and data pipelines, our recipe."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared.detection.boxes import detection_set
from shared.detection.build import require
from shared.detection.config import clip, loader, optimiser
from shared.detection.evaluate import detect, measures
from shared.detection.launch import processes
from shared.detection.metrics import evaluate
from shared.detection.network import DetectorNetwork
from shared.detection.recipe import DetectionRecipe
from shared.detection.standin import two_steps
from shared.files import write_json
from shared.training.plan import command
from shared.training.resume import FILE
from shared.training.run import Outcome, Run, device_name


class DetectionRun(Run):
    """One detector with one seed."""

    @property
    def recipe(self) -> DetectionRecipe:
        """The recipe as it is carried out."""
        recipe = super().recipe
        assert isinstance(recipe, DetectionRecipe)  # the protocol's validator
        return recipe

    def build(self) -> DetectorNetwork:
        """The detector that training begins with, initialised from the seed."""
        network = super().build()
        assert isinstance(network, DetectorNetwork)
        return network

    def fit(self, folder: Path) -> Outcome:
        """Train the detector, going on with what an interrupted run left in `folder`.

        Randomness is a function of (seed, epoch), so that a run killed anywhere and resumed ends equal to one that was
        not (on one CPU). Where the recipe takes divergence for a result, the weights are those of that moment.

        Raises:
            PapertrailError: the loss is not finite, unless the recipe says that this is a result; a batch is larger
                than the training split; there are too few GPUs.
            DataError: the data are missing or damaged.
        """
        require()
        detection_set(self.protocol.data).prepare()
        again = command("train", self.paper, self.protocol_name, self.arm_name, self.seed, folder.resolve().parents[3])
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
            warnings.simplefilter("ignore")  # of the libraries, about each other's versions
            with processes(self.protocol.trainer.devices, again):
                return self._train(folder, scratch)

    def _train(self, folder: Path, scratch: str) -> Outcome:
        from mmengine.optim import OptimWrapper
        from mmengine.runner import Runner

        import shared.detection.registry  # noqa: F401  (registers our data sets)
        from shared.detection.hooks import Diverged, Progress

        network, recipe, hardware = self.build(), self.recipe, self.protocol.trainer
        progress = Progress(self.paper, recipe, self.seed, folder / FILE)
        logging.disable(logging.WARNING)  # MMEngine tells at length what it was given
        try:
            runner = Runner(
                model=_shared_out(network),
                work_dir=scratch,
                train_dataloader=loader(
                    detection_set(self.protocol.data), "train", recipe,
                    seed=self.seed, devices=hardware.devices, workers=hardware.workers,
                ),
                train_cfg={"by_epoch": True, "max_epochs": recipe.epochs, "val_interval": recipe.epochs + 1},
                optim_wrapper=OptimWrapper(optimiser(network, recipe), clip_grad=clip(recipe)),
                default_hooks={"logger": None, "checkpoint": None, "param_scheduler": None, "timer": None},
                custom_hooks=[progress],
                default_scope="mmdet",
                randomness={"seed": self.seed},
                log_level="ERROR",
                experiment_name=f"papertrail-{os.getpid()}-{random.getrandbits(32)}",
                visualizer={"type": "Visualizer", "vis_backends": [], "name": f"none-{random.getrandbits(32)}"},
            )  # fmt: skip
            with contextlib.suppress(Diverged):
                runner.train()
        finally:
            logging.disable(logging.NOTSET)
        device = device_name(next(network.parameters()).device)
        changes: dict[str, Any] = {}
        kept: nn.Module = network
        if recipe.method is not None:
            kept, changes = recipe.method.finish(network)
        return Outcome(kept, progress.rows, len(progress.rows), device, changes)

    def evaluate(self, network: nn.Module, folder: Path) -> dict[str, float]:
        """The metrics of the set's own layout; what was found is kept, with every measure of it.

        `folder`/detections has, for each seed, <seed>.json as COCO's tools read it, and <seed>-measures.json.
        """
        images, found = detect(network, self.recipe, self.protocol.data)
        kept = folder / "detections"
        kept.mkdir(exist_ok=True)
        write_json(kept / f"{self.seed}.json", found)
        write_json(kept / f"{self.seed}-measures.json", measures(images, found, self.recipe.masks))
        own = {} if self.recipe.method is None else self.recipe.method.metrics(network)
        return evaluate(images, "test", found, self.recipe.masks) | own

    def two_steps(self) -> None:
        """See `Run.two_steps`: two steps and one prediction on noise; PapertrailError when a loss is not finite."""
        two_steps(self.build(), self.recipe, self.spec.classes, str(self))


def _shared_out(network: DetectorNetwork) -> Any:
    """The detector, or where several processes train it, what keeps their gradients equal."""
    if not torch.distributed.is_initialized():
        return network.detector
    from mmengine.device import get_device
    from mmengine.model import MMDistributedDataParallel

    return MMDistributedDataParallel(network.detector.to(get_device()), broadcast_buffers=False)
