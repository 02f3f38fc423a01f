"""Faster R-CNN and Mask R-CNN with feature pyramids on Res2Net (tables 5 and 8), from MMDetection's own files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from torch import nn

from shared.detection import build

TAPS = ("stage1", "stage2", "stage3", "stage4")
FILES = {"faster_rcnn": "_base_/models/faster-rcnn_r50_fpn", "mask_rcnn": "_base_/models/mask-rcnn_r50_fpn"}
BACKBONES = ("resnet50", "resnet101", "res2net50", "res2net101", "res2net50_v1b", "res2net101_v1b")


def detector(
    name: str, backbone: str = "res2net50", width: int = 0, scale: int = 0, checkpoint: str = "", *, classes: int = 80
) -> nn.Module:
    """A detector on one of the paper's backbones; every layer is trained.

    Args:
        name: of `FILES`.
        backbone: of `BACKBONES`.
        width: w; the backbone's own when 0.
        scale: s; the backbone's own when 0.
        checkpoint: "<slug>/<name>" of kept weights that the backbone begins with; none when empty.
        classes: number of classes.

    Raises:
        ValueError: there is no such backbone.
        PapertrailError: MMDetection is missing.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"the backbone is one of {', '.join(BACKBONES)}, not {backbone!r}")
    args: dict[str, Any] = {key: value for key, value in (("width", width), ("scale", scale)) if value}
    config = build.on_backbone(
        build.base_model(FILES[name]), "res2net", backbone, args, TAPS, checkpoint=checkpoint or None
    )
    return build.detector(config, classes)


MODELS: dict[str, Callable[..., nn.Module]] = {name: functools.partial(detector, name) for name in FILES}
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = dict.fromkeys(FILES, ((3, 800, 1344), 80))
