"""The one switch between convolutions and adder layers in MMDetection's detectors (tables 2 to 6)."""

from __future__ import annotations

from typing import Any

from mmcv.cnn import ConvModule
from mmdet.registry import MODELS
from torch import nn

from papers.adder_detection.adder import Adder2d, InputGradient
from papers.adder_detection.necks import Path
from shared.detection import build

# MMDetection's own configurations, whose heads, losses and tests are taken as they are.
ZOO = {
    "fcos": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
    "retinanet": "_base_/models/retinanet_r50_fpn",
    "foveabox": "foveabox/fovea_r50_fpn_4xb4-1x_coco",
    "atss": "atss/atss_r50_fpn_1x_coco",
    "gfl": "gfl/gfl_r50_fpn_1x_coco",
    "vfnet": "vfnet/vfnet_r50_fpn_1x_coco",
    "reppoints": "reppoints/reppoints-moment_r50_fpn_1x_coco",
    "sparse_rcnn": "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco",
    "faster_rcnn": "_base_/models/faster-rcnn_r50_fpn",
    "ghm": "ghm/retinanet_r50_fpn_ghm-1x_coco",
    "fsaf": "fsaf/fsaf_r50_fpn_1x_coco",
    "pisa": "pisa/faster-rcnn_r50_fpn_pisa_1x_coco",
}
# Heads with group normalisation; of 32 groups a narrow head would have a channel or less in each.
GROUPED = ("FCOSHead", "ATSSHead", "GFLHead", "VFNetHead", "RepPointsHead")
SWITCHES = ("", "B", "B+N", "B+N+H")
STAGES = ("stage1", "stage2", "stage3", "stage4")


@MODELS.register_module()
def AdderDetector(
    detector: str,
    adder: str = "",
    neck: Path = "fpn",
    shortcuts: bool = False,
    depth: int = 50,
    width: float = 1.0,
    input_gradient: InputGradient = "sign",
    frozen_norm: bool = False,
    checkpoint: str | None = None,
    channels: int = 256,
    convs: int | None = None,
    num_classes: int = 80,
) -> nn.Module:
    """A detector of MMDetection whose backbone, neck and head are made of convolutions or of adder layers.

    Args:
        detector: a name of `ZOO`.
        adder: which parts add: "" none, "B" the backbone, "B+N" the neck too, "B+N+H" the 3x3 layers of the head too.
        neck: the order of the neck's aggregations; see `Pyramid`.
        shortcuts: shortcuts around the neck's 3x3 layers.
        depth: of the backbone, a ResNet: 18, 50 or 101.
        width: of the backbone.
        input_gradient: of the adder layers.
        frozen_norm: the backbone keeps the statistics of its normalisation in training (table 1).
        checkpoint: "<slug>/<name>" of a pinned classifier that the backbone begins with.
        channels: of the neck and of the head.
        convs: 3x3 layers in each branch of a dense head; as in MMDetection's own configuration when not given.
        num_classes: number of classes.

    Raises:
        ValueError: an unknown detector or switch, or "B+N+H" for a detector without a dense head.
    """
    if detector not in ZOO:
        raise ValueError(f"the detector is one of {', '.join(ZOO)}, not {detector}")
    if adder not in SWITCHES:
        raise ValueError(f"the switch `adder` is empty or one of {', '.join(filter(None, SWITCHES))}, not {adder}")
    parts = adder.split("+")
    config = build.base_model(ZOO[detector])
    if "H" in parts and "bbox_head" not in config:
        raise ValueError(f"{detector} has no dense head whose 3x3 layers could add: use B+N")
    taps = STAGES[config["neck"].get("start_level", 0) :]
    config["neck"] = _pyramid(config["neck"]) | {
        "out_channels": channels, "path": neck, "shortcuts": shortcuts, "adder": "N" in parts,
        "input_gradient": input_gradient,
    }  # fmt: skip
    if "bbox_head" in config:
        _resize(config["bbox_head"], channels, convs)
    elif channels != 256 or convs is not None:
        raise ValueError(f"{detector}: the width of a second stage is not an argument here")
    network: dict[str, Any] = {"width": width}
    if "B" in parts:
        network["input_gradient"] = input_gradient
    name = f"adder_resnet{depth}" if "B" in parts else f"resnet{depth}"
    config = build.on_backbone(
        config, "adder_detection", name, network, taps, norm_eval=frozen_norm, checkpoint=checkpoint
    )
    config["data_preprocessor"] = build.PREPROCESSOR  # FCOS's own wants the pixels of another backbone
    built: Any = build.detector(config, num_classes).detector
    if "H" in parts:
        _add_in_head(built, input_gradient)
    return built


def _pyramid(fpn: dict[str, Any]) -> dict[str, Any]:
    """What MMDetection's pyramid is, as arguments of ours."""
    extra = fpn.get("add_extra_convs", False)
    return {
        "type": "Pyramid",
        "num_outs": fpn["num_outs"],
        "extra": {"on_input": "input", "on_output": "output", False: "pool"}[extra],
    }


def _resize(head: dict[str, Any], channels: int, convs: int | None) -> None:
    """Other widths and depths of a dense head, for machines that cannot train the usual ones."""
    for key in ("in_channels", "feat_channels", "point_feat_channels"):
        if key in head:
            head[key] = channels
    if channels != 256 and head["type"] in GROUPED:
        head["norm_cfg"] = {"type": "GN", "num_groups": 8}
    if convs is not None:
        head["stacked_convs"] = convs


def _add_in_head(detector: Any, input_gradient: InputGradient) -> None:
    """Adder layers, with their batch normalisation, for the stacked 3x3 convolutions of a dense head."""
    head = detector.bbox_head
    for stack in (head.cls_convs, head.reg_convs):
        for module in stack:
            assert isinstance(module, ConvModule)
            old = module.conv
            adder = Adder2d(old.in_channels, old.out_channels, 3, 1, 1, input_gradient=input_gradient)
            module.conv = nn.Sequential(adder, nn.BatchNorm2d(old.out_channels))
