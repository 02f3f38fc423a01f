"""Small detectors for tests: the anatomy of the real ones, at a size that a test can train."""

from __future__ import annotations

from typing import Any

from shared.detection.build import PREPROCESSOR

CHANNELS = 16


def backbone(**changes: Any) -> dict[str, Any]:
    return {
        "type": "TapsBackbone", "paper": "ghostnet", "model": "ghostnet", "args": {"width": 0.5},
        "taps": ["block5", "block11", "block16"],
    } | changes  # fmt: skip


def fcos(**changes: Any) -> dict[str, Any]:
    return {
        "type": "FCOS",
        "data_preprocessor": PREPROCESSOR,
        "backbone": backbone(),
        "neck": {
            "type": "FPN", "in_channels": [20, 56, 80], "out_channels": CHANNELS, "start_level": 0,
            "add_extra_convs": "on_output", "num_outs": 5, "relu_before_extra_convs": True,
        },
        "bbox_head": {
            "type": "FCOSHead", "num_classes": 80, "in_channels": CHANNELS, "stacked_convs": 1,
            "feat_channels": CHANNELS, "strides": [8, 16, 32, 64, 128], "norm_cfg": {"type": "GN", "num_groups": 4},
        },
        "test_cfg": {
            "nms_pre": 100, "min_bbox_size": 0, "score_thr": 0.05, "max_per_img": 20,
            "nms": {"type": "nms", "iou_threshold": 0.5},
        },
    } | changes  # fmt: skip
