"""Two training steps of a detector on stand-in images, so that every recipe can be tried where its data are not."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.detection.build import require
from shared.detection.config import clip, optimiser
from shared.detection.network import DetectorNetwork
from shared.detection.recipe import DetectionRecipe
from shared.errors import PapertrailError
from shared.training.optim import learning_rate_factor

STEPS, BATCH_SIZE = 2, 2
LONGEST = 64  # pixels: every level of a feature pyramid has one at least, and a step takes a second


def two_steps(network: DetectorNetwork, recipe: DetectionRecipe, classes: int, where: str) -> None:
    """Two steps and one prediction of a detector on noise with three objects an image.

    PapertrailError when a loss is not finite.
    """
    require()
    from mmengine.optim import OptimWrapper

    shrink = min(1, LONGEST / max(recipe.size))
    size = (round(recipe.size[0] * shrink), round(recipe.size[1] * shrink))
    generator, detector = np.random.default_rng(0), network.detector
    logging.disable(logging.WARNING)  # MMEngine names every layer
    try:
        detector.init_weights()  # as its Runner does; Sparse R-CNN's first boxes are noise without
    finally:
        logging.disable(logging.NOTSET)
    wrapper = OptimWrapper(optimiser(network, recipe), clip_grad=clip(recipe))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(STEPS):
            factor = learning_rate_factor(recipe.schedule, step, STEPS, recipe.length(STEPS))
            for group in wrapper.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
            losses = detector.train().train_step(batch(generator, classes, size), wrapper)
            loss = float(losses["loss"])
            if not np.isfinite(loss):
                raise PapertrailError(f"{where}: the loss is {loss} at step {step} of stand-in images")
        with torch.inference_mode():
            detector.eval().test_step(batch(generator, classes, size))


def batch(generator: np.random.Generator, classes: int, size: tuple[int, int]) -> dict[str, list[Any]]:
    """Images of noise, (3, height, width) uint8, with three boxes each, as MMDetection's pipelines pack them."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    width, height = size
    inputs: list[Tensor] = []
    samples = []
    for number in range(BATCH_SIZE):
        inputs.append(torch.from_numpy(generator.integers(0, 256, (3, height, width), dtype=np.uint8)))
        corners = generator.uniform(0, 0.5, (3, 2))
        boxes = np.concatenate([corners, corners + generator.uniform(0.2, 0.5, (3, 2))], axis=1)
        truth = InstanceData(
            bboxes=torch.tensor(boxes * [width, height, width, height], dtype=torch.float32),
            labels=torch.from_numpy(generator.integers(0, classes, 3)),
            masks=BitmapMasks(generator.integers(0, 2, (3, height, width), dtype=np.uint8), height, width),
        )
        shape = {"img_shape": (height, width), "ori_shape": (height, width), "pad_shape": (height, width)}
        sample = DetDataSample(metainfo={**shape, "scale_factor": (1.0, 1.0), "img_id": number})
        sample.gt_instances = truth
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    return {"inputs": inputs, "data_samples": samples}
