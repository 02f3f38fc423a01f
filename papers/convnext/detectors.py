"""Detectors of table 3 and segmentation networks of table 4, on ConvNeXt and on what it is compared with (section 4).

Mask R-CNN is MMDetection's own. Cascade Mask R-CNN has the box heads of Swin Transformer's experiments, as the official
configurations state: four convolutions with synchronised batch normalisation, one linear layer, and a GIoU loss of
weight 10 on decoded boxes. That boxes are regressed for each class by itself stands in MMDetection's own configuration
of these detectors, and the printed parameters say so. The stages' outputs go to the pyramid as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from papers.convnext.model import SIZES, convnext
from papers.convnext.rivals import RatesOnCpu, known, swin, swin_config, swin_stages, swin_widths, vit
from papers.convnext.upernet import Stages, UperNet
from shared.detection import build

TAPS = ("stage1", "stage2", "stage3", "stage4")
# The keys that say how wide a pyramid or a head is; a list of channels is the backbone's.
HEADS = ("in_channels", "out_channels", "feat_channels", "conv_out_channels", "fc_out_channels")
# What of MMDetection's ResNet-50 is other in the ResNets that table 3 compares with.
RESNETS: dict[str, dict[str, Any]] = {
    "resnet50": {},
    "resnext101-32x4d": {"type": "ResNeXt", "depth": 101, "groups": 32, "base_width": 4},
    "resnext101-64x4d": {"type": "ResNeXt", "depth": 101, "groups": 64, "base_width": 4},
}


def mask_rcnn(
    size: str = "tiny", width: float = 1.0, drop_path: float = 0.0, checkpoint: str = "", *, classes: int = 80
) -> nn.Module:
    """Mask R-CNN (He et al. 2017) with a feature pyramid.

    Args:
        size: of ConvNeXt: tiny, small, base, large or xlarge.
        width: factor on the channels of ConvNeXt, of the pyramid and of the heads; 1 in the paper.
        drop_path: of ConvNeXt's last block.
        checkpoint: "<slug>/<name>" of kept weights that ConvNeXt begins with; none when empty.
        classes: number of classes.

    Raises:
        ValueError: there is no such size.
        PapertrailError: MMDetection is missing.
    """
    return _on(build.base_model("_base_/models/mask-rcnn_r50_fpn"), size, width, drop_path, checkpoint, classes)


def cascade_mask_rcnn(
    size: str = "tiny", width: float = 1.0, drop_path: float = 0.0, checkpoint: str = "", *, classes: int = 80
) -> nn.Module:
    """Cascade Mask R-CNN (Cai and Vasconcelos 2018) with a feature pyramid; arguments as in `mask_rcnn`."""
    return _on(_cascade(), size, width, drop_path, checkpoint, classes)


def resnet_cascade(backbone: str = "resnet50", *, classes: int = 80) -> nn.Module:
    """The same detector on MMDetection's own backbone: resnet50, resnext101-32x4d or resnext101-64x4d.

    Raises:
        ValueError: there is no such backbone.
        PapertrailError: MMDetection is missing.
    """
    if backbone not in RESNETS:
        raise ValueError(f"backbone must be one of {', '.join(RESNETS)}, not {backbone!r}")
    config = _cascade()
    own = {key: value for key, value in config["backbone"].items() if key != "init_cfg"}  # nothing is downloaded
    return build.detector(config | {"backbone": own | RESNETS[backbone]}, classes)


def swin_mask_rcnn(size: str = "tiny", *, classes: int = 80) -> nn.Module:
    """Mask R-CNN on Swin Transformer: tiny, small, base or large.

    Raises:
        ValueError: there is no such size.
        PapertrailError: MMDetection is missing.
    """
    return _on_swin(build.base_model("_base_/models/mask-rcnn_r50_fpn"), size, classes)


def swin_cascade(size: str = "tiny", *, classes: int = 80) -> nn.Module:
    """Cascade Mask R-CNN on Swin Transformer, as `swin_mask_rcnn`."""
    return _on_swin(_cascade(), size, classes)


def upernet(size: str = "tiny", width: float = 1.0, drop_path: float = 0.0, *, classes: int = 150) -> nn.Module:
    """UperNet; arguments as in `mask_rcnn`, but for the width, which is ConvNeXt's alone."""
    known(size, SIZES)
    stages = Stages(convnext(size, width, drop_path=drop_path))
    return UperNet(stages, stages.widths, classes=classes)


def swin_upernet(size: str = "tiny", *, classes: int = 150) -> nn.Module:
    """UperNet on Swin Transformer, as `swin_mask_rcnn`."""
    return UperNet(swin_stages(size), swin_widths(size), classes=classes)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "mask_rcnn": mask_rcnn,
    "cascade_mask_rcnn": cascade_mask_rcnn,
    "resnet_cascade": resnet_cascade,
    "swin_mask_rcnn": swin_mask_rcnn,
    "swin_cascade": swin_cascade,
    "upernet": upernet,
    "swin_upernet": swin_upernet,
    "swin": swin,
    "vit": vit,
}
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    "mask_rcnn": ((3, 800, 1280), 80),
    "cascade_mask_rcnn": ((3, 800, 1280), 80),
    "resnet_cascade": ((3, 800, 1280), 80),
    "swin_mask_rcnn": ((3, 800, 1280), 80),
    "swin_cascade": ((3, 800, 1280), 80),
    "upernet": ((3, 512, 2048), 150),
    "swin_upernet": ((3, 512, 2048), 150),
    "swin": ((3, 224, 224), 1000),
    "vit": ((3, 224, 224), 1000),
}


def _cascade() -> dict[str, Any]:
    config = build.base_model("_base_/models/cascade-mask-rcnn_r50_fpn")
    for head in config["roi_head"]["bbox_head"]:
        head |= {
            "type": "ConvFCBBoxHead", "num_shared_convs": 4, "num_shared_fcs": 1, "conv_out_channels": 256,
            "reg_class_agnostic": False, "norm_cfg": {"type": "SyncBN", "requires_grad": True},
            "reg_decoded_bbox": True, "loss_bbox": {"type": "GIoULoss", "loss_weight": 10.0},
        }  # fmt: skip
    return config


def _on(config: dict[str, Any], size: str, width: float, drop_path: float, checkpoint: str, classes: int) -> nn.Module:
    known(size, SIZES)
    args = {"width": width, "drop_path": drop_path}
    taken = build.on_backbone(config, "convnext", f"convnext_{size}", args, TAPS, checkpoint=checkpoint or None)
    if width != 1:
        for part in ("neck", "rpn_head", "roi_head"):
            taken[part] = _narrowed(taken[part], width)
    return build.detector(taken, classes)


def _on_swin(config: dict[str, Any], size: str, classes: int) -> nn.Module:
    taken = config | {"backbone": swin_config(size), "neck": config["neck"] | {"in_channels": swin_widths(size)}}
    with RatesOnCpu():
        return build.detector(taken, classes)


def _narrowed(part: Any, width: float) -> Any:
    """What of a model dictionary is channels that a pyramid or a head makes or sees, times the width."""
    if isinstance(part, list):
        return [_narrowed(one, width) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: int(value * width) if key in HEADS and isinstance(value, int) else _narrowed(value, width)
            for key, value in part.items()}  # fmt: skip
