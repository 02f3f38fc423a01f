"""Training and evaluating a detector: MMDetection's Runner and data pipelines, our recipe, our metrics."""

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

from shared.datasets.spec import DatasetSpec, SplitName
from shared.detection.build import require
from shared.detection.metrics import Detection, evaluate
from shared.detection.network import DetectorNetwork
from shared.detection.sets import DetectionSet, detection_set
from shared.files import write_json
from shared.training.optim import build_optimiser
from shared.training.recipe import DetectionRecipe, detection
from shared.training.run import Outcome, Run, device_name

RESUME = "resume.ckpt"


class DetectionRun(Run):
    """One detector with one seed."""

    @property
    def spec(self) -> DatasetSpec:
        """The data set of this run."""
        return detection_set(self.protocol.data).spec

    def fit(self, folder: Path) -> Outcome:
        """Train the detector, going on with what an interrupted run left in `folder`, and evaluate the last weights.

        Randomness is a function of (seed, epoch), so that a run killed anywhere and resumed ends equal to one that was
        not (on a CPU). The detections on the test split are kept in detections.json, as the COCO tools read them; a run
        that diverged has none.

        Raises:
            PapertrailError: the loss is not finite, unless the recipe says that this is a result.
            DataError: the data are missing or damaged.
        """
        require()
        recipe, images = detection(self.protocol.recipe), detection_set(self.protocol.data)
        images.prepare()
        network = self.build()
        assert isinstance(network, DetectorNetwork)
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as scratch:
            warnings.simplefilter("ignore")  # of the libraries, about each other's versions
            progress = _train(network, recipe, images, self.seed, folder, scratch)
            found = [] if progress.diverged else predict(network, recipe, images)
        write_json(folder / "detections.json", found)
        device = device_name(next(network.parameters()).device)
        return Outcome(network, evaluate(images, "test", found), progress.rows, len(progress.rows), device)


def measure(network: nn.Module, recipe: DetectionRecipe, data: str) -> dict[str, float]:
    """The metrics of a trained detector on the test split of a set; DataError when it is missing or damaged."""
    images = detection_set(data)
    images.prepare()
    assert isinstance(network, DetectorNetwork)
    return evaluate(images, "test", predict(network, recipe, images))


def predict(network: DetectorNetwork, recipe: DetectionRecipe, images: DetectionSet) -> list[Detection]:
    """The detections on the test split, in the coordinates of the images as they are stored."""
    require()
    from mmdet.registry import DATASETS
    from mmengine.dataset import pseudo_collate

    dataset = DATASETS.build(_dataset(images, "test", recipe))
    detector = network.detector.eval()
    categories = images.category_ids
    found: list[Detection] = []
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MMDetection, about PyTorch's own plans
        for start in range(0, len(dataset), recipe.batch_size):
            batch = [dataset[place] for place in range(start, min(start + recipe.batch_size, len(dataset)))]
            for sample in detector.test_step(pseudo_collate(batch)):
                boxes = sample.pred_instances
                for (left, top, right, bottom), score, label in zip(
                    boxes.bboxes.tolist(), boxes.scores.tolist(), boxes.labels.tolist(), strict=True
                ):
                    found.append(
                        {
                            "image_id": sample.img_id,
                            "category_id": categories[label],
                            "bbox": [round(value, 2) for value in (left, top, right - left, bottom - top)],
                            "score": round(score, 5),
                        }
                    )
    return found


def _dataset(images: DetectionSet, split: SplitName, recipe: DetectionRecipe) -> dict[str, Any]:
    """A split as MMDetection's configuration of a data set."""
    scale = {"type": "Resize", "scale": recipe.size, "keep_ratio": True}
    if split == "train":
        pipeline: list[dict[str, Any]] = [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True},
            scale,
            {"type": "RandomFlip", "prob": recipe.flip},
            {"type": "PackDetInputs"},
        ]
    else:
        meta = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
        pipeline = [{"type": "LoadImageFromFile"}, scale, {"type": "PackDetInputs", "meta_keys": meta}]
    return images.mmdet(split) | {
        "pipeline": pipeline,
        "test_mode": split != "train",
        "filter_cfg": {"filter_empty_gt": True} if split == "train" else None,
    }


def _train(
    network: DetectorNetwork, recipe: DetectionRecipe, images: DetectionSet, seed: int, folder: Path, scratch: str
) -> Any:
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    from shared.detection.hooks import Diverged, Progress

    logging.disable(logging.WARNING)  # MMEngine tells at length what it was given
    try:
        progress = Progress(recipe, seed, folder / RESUME)
        runner = Runner(
            model=network.detector,
            work_dir=scratch,
            train_dataloader={
                "batch_size": recipe.batch_size,
                "num_workers": 0,
                "sampler": {"type": "DefaultSampler", "shuffle": True, "seed": seed},
                "drop_last": True,
                "dataset": _dataset(images, "train", recipe),
            },
            train_cfg={"by_epoch": True, "max_epochs": recipe.epochs, "val_interval": recipe.epochs + 1},
            optim_wrapper=OptimWrapper(
                build_optimiser(network, recipe.optimiser),
                clip_grad=None if recipe.clip is None else {"max_norm": recipe.clip},
            ),
            default_hooks={"logger": None, "checkpoint": None, "param_scheduler": None, "timer": None},
            custom_hooks=[progress],
            default_scope="mmdet",
            randomness={"seed": seed},
            log_level="ERROR",
            experiment_name=f"papertrail-{os.getpid()}-{random.getrandbits(32)}",
            visualizer={"type": "Visualizer", "vis_backends": [], "name": f"none-{random.getrandbits(32)}"},
        )
        with contextlib.suppress(Diverged):
            runner.train()
    finally:
        logging.disable(logging.NOTSET)
    return progress
