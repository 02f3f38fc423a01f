"""The detectors of table 3 and the segmentation networks of table 4."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

pytest.importorskip("mmcv.ops")

from papers.convnext import detectors
from papers.convnext.model import SIZES, convnext
from papers.convnext.upernet import Stages, UperNet
from shared.files import ROOT
from shared.ledger.printed import parse_printed
from shared.measure import count
from shared.training.optim import build_optimiser
from shared.training.protocol import load_protocol


def test_a_cascade_has_three_stages_of_boxes_and_of_masks() -> None:
    with torch.device("meta"):
        network: Any = detectors.cascade_mask_rcnn("tiny", 0.25, classes=5)
        outputs = network(torch.empty(2, 3, 64, 96))
    head = network.detector.roi_head
    assert len(head.bbox_head) == len(head.mask_head) == 3
    for stage in head.bbox_head:
        kinds = [type(layer).__name__ for layer in stage.modules() if isinstance(layer, nn.Conv2d | nn.SyncBatchNorm)]
        assert kinds == ["Conv2d", "SyncBatchNorm"] * 4
        assert (stage.fc_reg.out_features, stage.fc_cls.out_features) == (4 * 5, 5 + 1)
    proposals = 5 * (3 + 4 * 3)  # on each of five levels, of three anchors a score and four shifts
    assert outputs.shape == (2, proposals + 3 * (4 * 5 + 5 + 1) + 3 * 5)


@pytest.mark.parametrize(
    "build",
    [
        detectors.mask_rcnn,
        detectors.cascade_mask_rcnn,
        detectors.upernet,
        detectors.swin,
        detectors.swin_cascade,
        detectors.swin_upernet,
    ],
)
def test_a_backbone_that_the_paper_lacks_is_refused(build: Any) -> None:
    with pytest.raises(ValueError, match=r"size must be one of tiny, .* not 'huge'"):
        build("huge")
    with pytest.raises(ValueError, match=r"backbone must be one of resnet50, .* not 'swin'"):
        detectors.resnet_cascade("swin")


def test_the_learning_rates_of_a_detector_fall_by_groups_of_three_blocks() -> None:
    protocol = load_protocol(ROOT / "papers/convnext/params.yaml", "coco")
    with torch.device("meta"):
        network = detectors.cascade_mask_rcnn("tiny", 0.25)
    rates = {}
    groups = build_optimiser(network, protocol.recipe_of("cascade-tiny").optimiser).param_groups
    for group in groups:
        rates.update({id(parameter): group["lr"] / 0.0002 for parameter in group["params"]})
    trunk = "detector.backbone.network"
    found = {name: rates[id(one)] for name, one in network.named_parameters()}
    for name, power in (("stem.0", 7), ("stages.0.blocks.2.norm", 6), ("stages.1.downsample.1", 6),
                        ("stages.2.blocks.5.norm", 3), ("stages.3.blocks.0.norm", 1)):  # fmt: skip
        assert found[f"{trunk}.{name}.weight"] == pytest.approx(0.7**power), name
    assert found["detector.neck.fpn_convs.0.conv.weight"] == 1


def test_upernet_gives_logits_at_a_quarter_and_the_auxiliary_ones_in_training_alone() -> None:
    torch.manual_seed(0)
    network: Any = detectors.upernet("tiny", 0.125, classes=7)
    images = torch.randn(2, 3, 96, 64)
    first, second = network.train()(images)
    assert (first.shape, second.shape) == ((2, 7, 24, 16), (2, 7, 6, 4))
    (first.square().mean() + 0.4 * second.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    with torch.inference_mode():
        assert network.eval()(images).shape == (2, 7, 24, 16)
    stages = Stages(convnext("tiny", 0.125))
    alone = UperNet(stages, stages.widths, classes=7, auxiliary=False)
    assert alone.train()(images).shape == (2, 7, 24, 16)


def test_every_size_is_a_backbone() -> None:
    for size, (widths, _) in SIZES.items():
        with torch.device("meta"):
            network: Any = detectors.mask_rcnn(size)
        assert network.detector.backbone.out_channels == widths


def test_swin_is_printed_with_its_normalisation() -> None:
    """Tables 3 and 4: multiply-adds, five operations an element of layer normalisation, one of batch normalisation."""
    scene, crop, large_crop = (3, 800, 1280), (3, 512, 2048), (3, 640, 2560)
    for build, size, shape, printed in (
        (detectors.swin_mask_rcnn, "tiny", scene, "267G"),
        (detectors.swin_cascade, "tiny", scene, "745G"),
        (detectors.swin_cascade, "small", scene, "838G"),
        (detectors.swin_cascade, "base", scene, "982G"),
        (detectors.swin_upernet, "tiny", crop, "945G"),
        (detectors.swin_upernet, "small", crop, "1038G"),
        (detectors.swin_upernet, "base", crop, "1188G"),
        (detectors.swin_upernet, "base", large_crop, "1841G"),
    ):
        with torch.device("meta"):
            network = build(size)
        assert parse_printed(printed).is_print_of(count(network, shape).macs + normalisation(network, shape)), printed


def normalisation(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Operations of the normalisation layers of a network on the meta device, for one image."""
    seen = 0

    def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal seen
        seen += output.numel() * (5 if isinstance(layer, nn.LayerNorm) else 1)

    for layer in network.eval().modules():
        if isinstance(layer, nn.LayerNorm | _BatchNorm):
            layer.register_forward_hook(add)
    with torch.no_grad():
        network(torch.empty(1, *shape, device="meta"))
    return seen
