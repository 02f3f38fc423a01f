"""The detectors against MMDetection's own Res2Net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from papers.res2net import MODELS, detectors
from papers.res2net.upstream import rename
from shared.weights.storage import fill
from tests.statistics import with_statistics

pytest.importorskip("mmcv.ops")

from shared.detection import build

THEIRS = {"faster_rcnn": "faster-rcnn", "mask_rcnn": "mask-rcnn"}
# Of MMDetection's backbone, whose other names are those of the release.
STEM = {"stem.7": "bn1"} | {f"stem.{place}": f"conv1.{place}" for place in (0, 1, 3, 4, 6)}


def built(name: str, **args: Any) -> Any:
    with torch.device("meta"):
        return detectors.detector(name, **args)


@pytest.mark.parametrize("name", detectors.FILES)
def test_a_detector_is_as_large_as_mmdetections_own(name: str) -> None:
    """The backbone of its files is the one that the paper calls v1b."""
    with torch.device("meta"):
        theirs = build.detector(build.base_model(f"res2net/{THEIRS[name]}_res2net-101_fpn_2x_coco"), 80)
    ours = built(name, backbone="res2net101_v1b")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_features_equal_those_of_mmdetections_backbone_but_for_one_pooling() -> None:
    """It does not pool in the very first block, which has no stride; the release and timm do."""
    build.require()
    from mmdet.registry import MODELS as REGISTRY

    torch.manual_seed(0)
    theirs: Any = REGISTRY.build({"type": "mmdet.Res2Net", "depth": 50, "scales": 4, "base_width": 26})
    with_statistics(theirs)
    state = {}
    for name, tensor in theirs.state_dict().items():
        layer, _, kind = name.rpartition(".")
        state[f"{STEM.get(layer, layer)}.{kind}"] = tensor
    ours: Any = MODELS["res2net50_v1b"](classes=1).eval()
    fill(ours, rename(state) | {f"classifier.{name}": p for name, p in ours.classifier.state_dict().items()}, Path("-"))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(images)
        assert not torch.allclose(ours.features(images)["stage1"], expected[0], atol=1e-2)
        ours.stages[0][0].body[1].pool = nn.Identity()
        for found, other in zip(ours.features(images).values(), expected, strict=True):
            assert other.std() > 1e-2
            torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)


def test_width_and_scale_reach_the_backbone() -> None:
    sizes = {args: sum(p.numel() for p in built("mask_rcnn", width=args[0], scale=args[1]).parameters())
             for args in ((0, 0), (26, 4), (48, 2))}  # fmt: skip
    assert sizes[0, 0] == sizes[26, 4] != sizes[48, 2]


def test_a_backbone_that_the_paper_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="not 'resnet18'"):
        detectors.detector("faster_rcnn", "resnet18")
