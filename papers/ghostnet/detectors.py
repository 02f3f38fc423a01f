"""The detectors of table 8: RetinaNet and Faster R-CNN with feature pyramids, on GhostNet and its rivals.

The paper names MMDetection's detectors and their one-fold schedule (section 4.3), no more: necks, heads and losses are
those of MMDetection's own ResNet-50 files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from shared.detection import build

STAGES = ("stage1", "stage2", "stage3", "stage4")
# The outputs at strides 4, 8, 16 and 32 of the networks that are a backbone here.
TAPS = {
    "ghostnet": ("block3", "block5", "block11", "block16"),
    "mobilenet_v2": STAGES,
    "mobilenet_v3_large": STAGES,
}


def retinanet(
    backbone: str = "ghostnet", width: float = 1.0, channels: int = 256, convs: int = 4, *, classes: int = 80
) -> nn.Module:
    """RetinaNet (Lin et al. 2017) on strides 8 to 128.

    Args:
        backbone: "ghostnet", "mobilenet_v2" or "mobilenet_v3_large".
        width: of the backbone.
        channels: of the pyramid and of the head.
        convs: 3x3 convolutions in each branch of the head.
        classes: number of classes.

    Raises:
        ValueError: there is no such backbone.
        PapertrailError: MMDetection is missing.
    """
    config = _on(backbone, width, channels, "_base_/models/retinanet_r50_fpn")
    config["bbox_head"] |= {"in_channels": channels, "feat_channels": channels, "stacked_convs": convs}
    return build.detector(config, classes)


def faster_rcnn(
    backbone: str = "ghostnet", width: float = 1.0, channels: int = 256, hidden: int = 1024, *, classes: int = 80
) -> nn.Module:
    """Faster R-CNN (Ren et al. 2015) with a feature pyramid on strides 4 to 64.

    Args:
        backbone: "ghostnet", "mobilenet_v2" or "mobilenet_v3_large".
        width: of the backbone.
        channels: of the pyramid and of the proposal network.
        hidden: units of the two shared layers of the second stage.
        classes: number of classes.

    Raises:
        ValueError: there is no such backbone.
        PapertrailError: MMDetection is missing.
    """
    config = _on(backbone, width, channels, "_base_/models/faster-rcnn_r50_fpn")
    config["rpn_head"] |= {"in_channels": channels, "feat_channels": channels}
    config["roi_head"]["bbox_roi_extractor"]["out_channels"] = channels
    config["roi_head"]["bbox_head"] |= {"in_channels": channels, "fc_out_channels": hidden}
    return build.detector(config, classes)


MODELS: dict[str, Callable[..., nn.Module]] = {"retinanet": retinanet, "faster_rcnn": faster_rcnn}
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {name: ((3, 800, 1344), 80) for name in MODELS}


def _on(backbone: str, width: float, channels: int, name: str) -> dict[str, Any]:
    """MMDetection's own configuration with another backbone."""
    if backbone not in TAPS:
        raise ValueError(f"the backbone is one of {', '.join(TAPS)}, not {backbone!r}")
    config = build.base_model(name)
    config["neck"]["out_channels"] = channels
    return build.on_backbone(config, "ghostnet", backbone, {"width": width}, TAPS[backbone])
