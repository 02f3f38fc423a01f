"""Our parts in MMDetection's registries, for its Runner and for configuration files: importing this registers them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, METRICS, OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.evaluator import BaseMetric
from mmengine.optim import OptimWrapper
from mmengine.registry import FUNCTIONS
from torch import nn

from shared.datasets.spec import SplitName
from shared.detection import backbone, hooks, mmdet_view  # noqa: F401  (register themselves)
from shared.detection.boxes import detection_set
from shared.detection.config import optimiser
from shared.detection.metrics import evaluate
from shared.detection.network import DetectorNetwork
from shared.detection.predictions import as_detections
from shared.detection.recipe import read_recipe
from shared.errors import DataError


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:
    """Draw what a worker draws from the seed that PyTorch gave it, which the first process draws for every epoch.

    MMEngine's own seed is the same in every epoch, and one of a run that goes on is not where it was.
    """
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)


@DATASETS.register_module()
class OutlinedImages(CocoDataset):
    """A split of a set in COCO's layout with the outlines of its objects, by MMDetection's own reader.

    Args:
        name: of the set.
        split: "train" or "test".
        options: those of MMDetection's CocoDataset.

    Raises:
        DataError: the set is missing or damaged, numbers its categories in another order than its classes, or has an
            object without an outline.
    """

    def __init__(self, name: str, split: SplitName, **options: Any) -> None:
        images = detection_set(name)
        images.read(split)  # MMDetection's reader leaves out what is impossible; ours says so
        file, folder = images.annotation_files(split)[0], images.prepare() / images.files.splits[split].images
        classes = {"classes": images.classes}
        super().__init__(ann_file=str(file), data_prefix={"img": str(folder)}, metainfo=classes, **options)
        if self.cat_ids != images.category_ids:
            raise DataError(f"{file}: its categories are not in the order of the classes of {name}")

    def parse_data_info(self, raw_data_info: dict[str, Any]) -> Any:
        """One image and its objects, each of them with an outline."""
        for one in raw_data_info["raw_ann_info"]:
            if not one.get("segmentation"):
                where = f"{self.ann_file}: image {one['image_id']}, annotation {one['id']}"
                raise DataError(f"{where}: has no outline (`segmentation`), which recipe.masks needs; leave that out")
        return super().parse_data_info(raw_data_info)


@METRICS.register_module()
class SetMetric(BaseMetric):
    """The metrics of a set's own layout on its test split, as `shared.detection.metrics.evaluate` has them.

    Args:
        name: of the set.
        masks: by outlines, too.
        options: those of MMEngine's BaseMetric.
    """

    def __init__(self, name: str, masks: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.images = detection_set(name)
        self.masks = masks

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep what was found on each image of a batch."""
        self.results += [as_detections([sample], self.images.category_ids) for sample in data_samples]

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """In percent."""
        return evaluate(self.images, "test", [found for image in results for found in image], self.masks)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class RecipeOptimiser:
    """Builds the optimiser that a recipe states, where a configuration file trains.

    Args:
        optim_wrapper_cfg: `recipe` and `paper`, and arguments of MMEngine's OptimWrapper.
        paramwise_cfg: MMEngine's own way to treat parameters differently; a recipe has its own.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: None = None) -> None:
        self.settings = {key: value for key, value in optim_wrapper_cfg.items() if key != "type"}
        self.recipe = read_recipe(self.settings.pop("paper"), self.settings.pop("recipe"))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The wrapped optimiser of a detector."""
        return OptimWrapper(optimiser(DetectorNetwork(model, {}), self.recipe), **self.settings)
