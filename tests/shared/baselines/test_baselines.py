"""The networks that papers compare with, against timm, published weights and plain indexing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shared import datasets
from shared.baselines.mobilenet_v2 import MobileNetV2
from shared.baselines.mobilenet_v3 import MobileNetV3
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import BasicBlock, CifarResNet, plain
from shared.layers.conv import make_divisible
from shared.layers.squeeze_excite import SqueezeExcite, clip
from tests.statistics import with_statistics


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("depth", "expected"), [(20, 269722), (32, 464154), (44, 658586), (56, 853018), (110, 1727962)]
)
def test_cifar_resnets_have_the_published_sizes(depth: int, expected: int) -> None:
    with torch.device("meta"):
        assert parameters(CifarResNet(depth)) == expected


@pytest.mark.parametrize("depth", [19, 2, 21])
def test_a_depth_that_is_not_six_n_plus_two_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="6 n \\+ 2"):
        CifarResNet(depth)


def test_option_a_takes_every_second_pixel_and_pads_channels() -> None:
    block = BasicBlock(4, 8, 2, plain).eval()
    for parameter in block.parameters():
        nn.init.zeros_(parameter)  # the residual branch gives nothing: the shortcut alone is left
    x = torch.rand(1, 4, 6, 6)
    expected = torch.zeros(1, 8, 3, 3)
    for channel in range(4):
        for i in range(3):
            for j in range(3):
                expected[0, channel + 2, i, j] = x[0, channel, 2 * i, 2 * j]
    assert torch.equal(block(x), expected)


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_imagenet_resnets_have_timms_sizes(depth: int, timm: Any) -> None:
    with torch.device("meta"):
        assert parameters(ResNet(depth)) == parameters(timm.create_model(f"resnet{depth}"))
    with pytest.raises(ValueError, match="the depth must be one of 18, 34"):
        ResNet(19)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("resnet18", lambda: ResNet(18)),
        ("resnet50", lambda: ResNet(50)),
        ("mobilenetv2_035", lambda: MobileNetV2(0.35)),
        ("mobilenetv2_100", MobileNetV2),
        ("mobilenetv2_140", lambda: MobileNetV2(1.4)),
        ("mobilenetv3_large_100", lambda: MobileNetV3("large")),
        ("mobilenetv3_large_075", lambda: MobileNetV3("large", 0.75)),
        ("mobilenetv3_small_075", lambda: MobileNetV3("small", 0.75)),
        ("mobilenetv3_small_100", lambda: MobileNetV3("small")),
    ],
)
def test_equal_weights_give_timms_outputs(name: str, build: Any, timm: Any) -> None:
    torch.manual_seed(0)
    theirs, ours = with_statistics(timm.create_model(name)), build().eval()
    # Both hold their layers in the same order; one writes a linear layer on one pixel as a 1x1 convolution.
    pairs = zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True)
    ours.load_state_dict({label: value.reshape(mine.shape) for (label, mine), value in pairs})
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)


@given(channels=st.floats(1, 2000), divisor=st.sampled_from([1, 2, 4, 8, 16]))
def test_rounded_channels_are_near_divisible_and_never_a_tenth_less(channels: float, divisor: int) -> None:
    found = make_divisible(channels, divisor)
    assert found % divisor == 0 and found >= divisor
    assert found >= 0.9 * channels and found <= max(channels + divisor, divisor)


@pytest.mark.parametrize("build", [MobileNetV2, lambda width: MobileNetV3("small", width)])
@pytest.mark.parametrize("width", [0, -1.0])
def test_a_width_that_leaves_no_channels_is_refused(build: Any, width: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        build(width=width)


def test_squeeze_and_excitation_by_hand() -> None:
    layer = SqueezeExcite(2, 1, clip)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.5)
    x = torch.tensor([[[[1.0, 3.0]], [[-2.0, 0.0]]]])
    gate = min(max(0.5 * max(0.5 * 2 + 0.5 * -1 + 0.5, 0) + 0.5, 0), 1)
    torch.testing.assert_close(layer(x), x * gate)


@pytest.mark.parametrize(
    ("depth", "file", "published"),
    [
        (20, "cifar10-resnet20-12fca82f.th", 91.73),
        pytest.param(32, "cifar10-resnet32-d509ac18.th", 92.63, marks=pytest.mark.slow),
        pytest.param(44, "cifar10-resnet44-014dd654.th", 93.10, marks=pytest.mark.slow),
        pytest.param(56, "cifar10-resnet56-4bfd9763.th", 93.39, marks=pytest.mark.slow),
    ],
)
def test_published_weights_have_their_published_accuracy_on_cifar10(depth: int, file: str, published: float) -> None:
    """The networks of github akamaster/pytorch_resnet_cifar10, on the 10,000 genuine test images."""
    place = Path(os.environ.get("PAPERTRAIL_DATA") or "/none") / "weights" / file
    if not place.is_file() or not datasets.describe("cifar10")["found"]:
        pytest.skip("PAPERTRAIL_DATA names no folder with published CIFAR weights and CIFAR-10")
    theirs = torch.load(place, map_location="cpu", weights_only=True)["state_dict"]
    model = CifarResNet(depth).eval()
    # Both hold their layers in the same order, under names of their own.
    ours, values = (
        [(name, value) for name, value in state.items() if "num_batches" not in name]
        for state in (model.state_dict(), theirs)
    )
    pairs = zip(ours, values, strict=True)
    model.load_state_dict(model.state_dict() | {name: value for (name, _), (_, value) in pairs})
    test = datasets.opened("cifar10").read("test")
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        found = [model((images / 255 - mean) / std).argmax(1) for images in test.images.split(500)]
    right = int((torch.cat(found) == test.labels).sum())
    assert right / 100 == published
