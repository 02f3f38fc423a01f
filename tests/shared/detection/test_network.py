from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shared.builders import build as build_network
from shared.detection import build
from shared.detection.network import PROPOSALS, _sampled
from shared.errors import PapertrailError
from shared.measure import count
from shared.weights.card import cards

pytest.importorskip("mmcv.ops")

from shared.detection.backbone import TapsBackbone
from tests.shared.detection.detectors import CHANNELS, backbone, fcos


def config(name: str) -> dict[str, Any]:
    """A model of MMDetection's own configuration files."""
    import mmdet
    from mmengine.config import Config

    found = Config.fromfile(Path(mmdet.__file__).parent / ".mim" / "configs" / name).model.to_dict()
    found["backbone"].pop("init_cfg", None)
    return found


class Last(nn.Module):
    """A backbone as a plain network."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images)[-1]


def test_a_detector_is_counted_layer_by_layer() -> None:
    with torch.device("meta"):
        network = build.detector(fcos(), 3)
    areas = [8 * 8, 4 * 4, 2 * 2, 1, 1]  # of an image of 64 pixels at strides 8 to 128
    lateral = sum(area * channels * CHANNELS for area, channels in zip(areas, (20, 56, 80), strict=False))
    smoothing = sum(areas) * 9 * CHANNELS * CHANNELS
    heads = sum(areas) * 9 * CHANNELS * (2 * CHANNELS + 3 + 4 + 1)
    backbone_macs = count(Last(network.detector.backbone), (3, 64, 64)).macs
    assert count(network, (3, 64, 64)).macs == backbone_macs + lateral + smoothing + heads


def test_the_backbone_is_the_classifier_without_its_head() -> None:
    torch.manual_seed(0)
    network = build.detector(fcos(), 3).detector.backbone.eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        for tap, output in zip(network.taps, network(images), strict=True):
            assert torch.equal(output, network.network.features(images)[tap])
    assert network.out_channels == (20, 56, 80)


@pytest.mark.parametrize("name", ["ghostnet", "mobilenet_v2", "mobilenet_v3_large"])
def test_what_no_feature_needs_is_left_out_of_a_backbone(name: str) -> None:
    whole = build_network("ghostnet", name, {}, 1)
    taps = [f"block{number}" for number in (5, 11, 16)] if name == "ghostnet" else ["stage2", "stage3", "stage4"]
    kept = TapsBackbone("ghostnet", name, taps)
    sum(output.mean() for output in kept(torch.randn(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in kept.parameters())
    assert kept.network.state_dict().keys() < whole.state_dict().keys()


def test_parts_of_a_backbone_can_be_frozen() -> None:
    backbone = TapsBackbone("eca_net", "resnet18", ["stage4"], {"width": 0.25}, frozen=["stem", "stages.0"])
    still = {name.split(".")[1] for name, p in backbone.named_parameters() if not p.requires_grad}
    assert still == {"stem", "stages"}
    assert all(p.requires_grad for p in backbone.network.stages[1:].parameters())
    with pytest.raises(AttributeError, match="neck"):
        TapsBackbone("eca_net", "resnet18", ["stage4"], frozen=["neck"])


@pytest.mark.parametrize(
    "name",
    [
        "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py",
        "vfnet/vfnet_r50_fpn_1x_coco.py",
    ],
)
def test_detectors_of_every_kind_can_be_counted(name: str) -> None:
    with torch.device("meta"):
        network = build.detector(config(name), 80)
    found = count(network, (3, 256, 256))
    assert found.params == sum(p.numel() for p in network.parameters()) and found.macs > 1e9


class Passes(nn.Module):
    """In the place of a layer with as many channels out as in."""

    def forward(self, x: Tensor, _: Tensor) -> Tensor:
        return x


def test_a_deformable_convolution_counts_as_a_plain_one() -> None:
    with torch.device("meta"):
        network = build.detector(config("vfnet/vfnet_r50_fpn_1x_coco.py"), 80)
    head = network.detector.bbox_head
    areas = sum((256 // stride) ** 2 for stride in (8, 16, 32, 64, 128))
    whole = count(network, (3, 256, 256)).macs
    head.vfnet_cls_dconv = head.vfnet_reg_refine_dconv = Passes()
    assert whole - count(network, (3, 256, 256)).macs == 2 * areas * 9 * 256 * 256


def test_the_second_stage_sees_a_thousand_regions() -> None:
    with torch.device("meta"):
        network = build.detector(config("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"), 80)
    small, large = (count(network, (3, size, size)).macs for size in (256, 512))
    regions = PROPOSALS * (256 * 49 * 1024 + 1024 * 1024 + 1024 * (81 + 4 * 80))
    assert large - regions == 4 * (small - regions)  # everything else grows with the area


def test_meta_and_real_outputs_have_one_shape() -> None:
    network = build.detector(fcos(), 3).eval()
    with torch.inference_mode():
        real = network(torch.randn(2, 3, 64, 64))
    assert real.shape == (2, 5 * (3 + 4 + 1)) and real.isfinite().all()


def program(network: nn.Module, size: int = 128) -> nn.Module:
    """The network as a torch.export program for any batch size."""
    batch = ({0: torch.export.Dim("batch")},)
    return torch.export.export(network, (torch.randn(3, 3, size, size),), dynamic_shapes=batch).module()


NARROW = {"depth": 18, "width": 0.125}
DENSE = NARROW | {"channels": 16, "convs": 1}


@pytest.mark.parametrize(
    ("slug", "model", "args"),
    [
        ("adder_detection", "reppoints", DENSE),
        ("ghostnet", "faster_rcnn", {"width": 0.5, "channels": 16, "hidden": 16}),
        *(pytest.param("adder_detection", name, DENSE, marks=pytest.mark.slow)
          for name in ("fcos", "retinanet", "foveabox", "atss", "gfl", "vfnet", "ghm", "fsaf")),
        *(pytest.param("adder_detection", name, NARROW, marks=pytest.mark.slow)
          for name in ("sparse_rcnn", "faster_rcnn", "pisa")),
        pytest.param("adder_detection", "fcos", DENSE | {"adder": "B+N+H"}, marks=pytest.mark.slow),
        pytest.param("eca_net", "narrow_retinanet", {"attention": "se"}, marks=pytest.mark.slow),
        pytest.param("eca_net", "mask_rcnn", {}, marks=pytest.mark.slow),
        pytest.param("ghostnet", "retinanet", {"width": 0.5, "channels": 16, "convs": 1}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_detector_is_exported_for_any_batch_size(slug: str, model: str, args: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = build_network(slug, model, args, 3).eval()
    exported = program(network)
    with torch.inference_mode():
        for size in (1, 2, 5):
            images = torch.randn(size, 3, 128, 128)
            exact = network.double()(images.double())
            own = float((network.float()(images) - exact).abs().max())
            assert float((exported(images) - exact).abs().max()) <= 8 * max(own, 1e-7), size


@pytest.mark.parametrize(
    "how",
    [
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2,
         "deform_groups": 2},
    ],
)  # fmt: skip
def test_an_exported_deformable_convolution_samples_as_mmcv_does(how: dict[str, Any]) -> None:
    from mmcv.ops import DeformConv2d

    torch.manual_seed(0)
    layer = DeformConv2d(8, 6, **how).double()
    x = torch.randn(3, 8, 9, 13, dtype=torch.double)
    rows, columns = nn.Conv2d(8, 6, **{key: how[key] for key in how.keys() - {"deform_groups"}})(x.float()).shape[2:]
    taps = layer.weight[0, 0].numel() * layer.deform_groups
    offset = 3 * torch.randn(3, 2 * taps, rows, columns, dtype=torch.double)  # also far outside
    torch.testing.assert_close(_sampled(layer, x, offset), layer(x, offset))


def test_unknown_taps_are_named() -> None:
    with pytest.raises(PapertrailError, match="no tap `block99`; did you mean block"):
        build.detector(fcos(backbone=backbone(taps=["block99"])), 3)


def test_a_checkpoint_of_another_network_is_refused() -> None:
    card = cards("ghostnet")[0]
    with pytest.raises(PapertrailError, match="not of `ghostnet`"):
        build.detector(fcos(backbone=backbone(checkpoint=card.ref)), 3)


def test_frozen_statistics_stay_in_training_mode() -> None:
    network = build.detector(fcos(backbone=backbone(norm_eval=True)), 3).train()
    before = {name: value.clone() for name, value in network.detector.backbone.state_dict().items()}
    network.detector.backbone(torch.randn(2, 3, 64, 64))
    after = network.detector.backbone.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
