"""Two training steps of a detector on stand-in images, so that every recipe can be tried where its data are not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shared.detection.build import require
from shared.detection.fit import DetectionRun
from shared.detection.network import DetectorNetwork
from shared.errors import PapertrailError
from shared.training.optim import build_optimiser
from shared.training.recipe import detection
from shared.training.run import protocol_with

STEPS, BATCH_SIZE = 2, 2
LONGEST = 256  # pixels: enough for every level of a feature pyramid, and a step takes no minute


def fast_check(paper: str, protocol_name: str, arm_name: str) -> None:
    """Two steps and one prediction of the arm on noise with three boxes an image; writes nothing.

    PapertrailError when a loss is not finite.
    """
    protocol = protocol_with(paper, protocol_name, arm_name)
    recipe = detection(protocol.recipe)
    run = DetectionRun(paper, protocol_name, protocol, arm_name, protocol.seed)
    network = run.build()
    assert isinstance(network, DetectorNetwork)
    shrink = min(1, LONGEST / max(recipe.size))
    width, height = (round(side * shrink) for side in recipe.size)
    two_steps(network.detector, build_optimiser(network, recipe.optimiser), run.spec.classes,
              (width, height), f"papers/{paper}: {protocol_name}/{arm_name}")  # fmt: skip


def two_steps(detector: Any, optimiser: torch.optim.Optimizer, classes: int, size: tuple[int, int], where: str) -> None:
    """Two optimiser steps and one prediction on stand-in images of `size` (width, height)."""
    require()
    from mmengine.optim import OptimWrapper

    generator = np.random.default_rng(0)
    wrapper = OptimWrapper(optimiser)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(STEPS):
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
