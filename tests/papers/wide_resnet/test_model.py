"""The networks against a plain reading of the paper, and against timm's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.wide_resnet import MODELS
from papers.wide_resnet.model import WideBlock, WideResNet, wrn, wrn18_imagenet, wrn34_imagenet, wrn_block
from papers.wide_resnet.upstream import rename
from shared.builders import build
from shared.errors import UsageError
from shared.weights.storage import fill
from tests.statistics import with_statistics

# Builder, arguments, blocks a group, kernel sizes of a block.
NETWORKS: list[tuple[str, dict[str, Any], int, tuple[int, ...]]] = [
    ("wrn", {"depth": 16, "width": 1}, 2, (3, 3)),
    ("wrn", {"depth": 10, "width": 2.5, "dropout": 0.3}, 1, (3, 3)),
    ("wrn", {"depth": 22, "width": 0.5}, 3, (3, 3)),
    ("wrn_block", {"block": "1-3-1", "depth": 16, "width": 1}, 2, (1, 3, 1)),
    ("wrn_block", {"block": "3-1", "depth": 10, "width": 2}, 1, (3, 1)),
    ("wrn_block", {"block": "1-3", "depth": 10, "width": 1}, 1, (1, 3)),
    ("wrn_block", {"block": "3-1-1", "depth": 16, "width": 0.5}, 2, (3, 1, 1)),
    ("wrn_block", {"block": "3-1-3", "depth": 10, "width": 1}, 1, (3, 1, 3)),
    ("wrn_deepening", {"deepening": 1, "depth": 10, "width": 1}, 2, (3,)),
    ("wrn_deepening", {"deepening": 4, "depth": 16, "width": 1}, 1, (3, 3, 3, 3)),
]


def plain_reading(weights: dict[str, Tensor], images: Tensor, blocks: int, kernels: tuple[int, ...]) -> Tensor:
    """Section 2 written out, with the weights in the order of the network: no layer of ours takes part."""
    left = iter([tensor for name, tensor in weights.items() if not name.endswith("num_batches_tracked")])

    def norm_relu(x: Tensor) -> Tensor:
        scale, shift, mean, variance = (next(left)[:, None, None] for _ in range(4))
        return ((x - mean) / (variance + 1e-5).sqrt() * scale + shift).clamp(min=0)

    def conv(x: Tensor, kernel: int, stride: int = 1) -> Tensor:
        weight = next(left)
        assert weight.shape[2:] == (kernel, kernel) and weight.shape[1] == x.shape[1]
        padded = functional.pad(x, (kernel // 2,) * 4)
        windows = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
        return torch.einsum("nchwij,ocij->nohw", windows, weight)

    x = conv(images, 3)
    assert x.shape[1] == 16
    for group in range(3):
        for number in range(blocks):
            stride = 2 if group and number == 0 else 1
            active = norm_relu(x)
            y = conv(active, kernels[0], stride)
            for kernel in kernels[1:]:
                y = conv(norm_relu(y), kernel)
            if y.shape != x.shape:
                x = conv(active, 1, stride)
            x = x + y
    means = norm_relu(x).mean((2, 3))
    logits = means @ next(left).T + next(left)
    assert next(left, None) is None
    return logits


@pytest.mark.parametrize(("name", "args", "blocks", "kernels"), NETWORKS)
def test_networks_equal_a_plain_reading(name: str, args: dict[str, Any], blocks: int, kernels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = with_statistics(MODELS[name](**args, classes=7)).double()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    expected = plain_reading(network.state_dict(), images, blocks, kernels)
    assert expected.std() > 1e-2
    torch.testing.assert_close(network(images), expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("name", "width"), [("wrn50_bottleneck", 2), ("wrn18_imagenet", 1.5), ("wrn34_imagenet", 1)])
def test_imagenet_networks_equal_timms(name: str, width: Any, timm: Any) -> None:
    from timm.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    if name == "wrn50_bottleneck":
        theirs = timm.create_model("wide_resnet50_2")
    else:
        stages = {"wrn18_imagenet": [2, 2, 2, 2], "wrn34_imagenet": [3, 4, 6, 3]}[name]
        theirs = ResNet(BasicBlock, stages, channels=[int(planes * width) for planes in (64, 128, 256, 512)])
    theirs = with_statistics(theirs)
    ours = MODELS[name](width=width).eval()
    fill(ours, rename(theirs.state_dict()), Path("timm"))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)


def blocks_of(network: nn.Module) -> list[WideBlock]:
    return [layer for layer in network.modules() if isinstance(layer, WideBlock)]


def test_dropout_stands_in_front_of_the_last_convolution_of_each_block() -> None:
    torch.manual_seed(0)
    network = wrn(10, 4, dropout=0.3).train()
    for block in blocks_of(network):
        seen: list[Tensor] = []
        block.body[2].register_forward_hook(lambda layer, given, out, seen=seen: seen.append(out.clone()))  # the ReLU
        block.body[-1].register_forward_hook(lambda layer, given, out, seen=seen: seen.append(given[0]))
        channels = block.act[0].num_features
        block(torch.randn(8, channels, 8, 8))
        active, left = seen[0][seen[0] > 0], seen[1][seen[0] > 0]
        assert abs(float((left == 0).float().mean()) - 0.3) < 0.02
        torch.testing.assert_close(left[left != 0], active[left != 0] / 0.7)
    assert not any(isinstance(layer, nn.Dropout) for layer in wrn(10, 1).modules())


def test_a_shortcut_convolution_stands_where_the_shape_changes_and_nowhere_else() -> None:
    for width, first in ((1, False), (2, True), (0.5, True)):
        shortcuts = [block.shortcut is not None for block in blocks_of(wrn(16, width))]
        assert shortcuts == [first, False, True, False, True, False]


def test_weights_begin_as_in_the_paper() -> None:
    torch.manual_seed(0)
    network = wrn(10, 8)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
            fan_in = layer.weight[0].numel()
            assert float(layer.weight.data.std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
        if isinstance(layer, nn.BatchNorm2d):
            assert bool((layer.weight == 1).all()) and not layer.bias.any()
    bound = 1 / math.sqrt(512)
    assert (
        0.9 * bound < float(network.classifier.weight.data.abs().max()) <= bound and not network.classifier.bias.any()
    )


@pytest.mark.parametrize("name", ["wrn", "wrn_block", "wrn_deepening"])
def test_scales_can_begin_between_0_and_1(name: str) -> None:
    torch.manual_seed(0)
    network = MODELS[name](depth=16, width=4, norm_scale="uniform")
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    scales = torch.cat([layer.weight for layer in norms])
    assert 0 <= float(scales.min()) < 0.01 and 0.99 < float(scales.max()) < 1 and abs(float(scales.mean()) - 0.5) < 0.02
    assert not any(layer.bias.any() for layer in norms)


@pytest.mark.parametrize(("depth", "blocks"), [(16, 2), (22, 3), (28, 4), (40, 6), (52, 8)])
def test_the_depth_counts_every_convolution(depth: int, blocks: int) -> None:
    """Section 3: n = 6 N + 4, where the 1x1 convolutions of three shortcuts count."""
    with torch.device("meta"):
        network = wrn(depth, 10)
    assert len(blocks_of(network)) == 3 * blocks
    assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == depth


@pytest.mark.parametrize(
    ("name", "wrong", "named"),
    [
        ("wrn", {"depth": 29}, r"the depth must be 6 N \+ 4, such as 28, not 29"),
        ("wrn", {"depth": 4}, r"the depth must be 6 N \+ 4, such as 28, not 4"),
        ("wrn", {"dropout": 1.0}, "dropout is a share from 0 up to 1, not 1"),
        ("wrn", {"width": 0.05}, "a width of 0.05 leaves no channel of 16; take at least 0.0625"),
        ("wrn", {"norm_scale": "twos"}, "`norm_scale` is to be one of ones, uniform, not 'twos'"),
        ("wrn_block", {"block": "3-5"}, "block is '3-5'; it is kernel sizes of 1 or 3"),
        ("wrn_block", {"block": ""}, "block is ''; it is kernel sizes of 1 or 3"),
        ("wrn_deepening", {"deepening": 5}, r"the depth must be 15 N \+ 4, such as 64, not 40"),
        ("wrn_deepening", {"deepening": 0}, "`deepening` is to be a whole number above 0"),
        ("wrn50_bottleneck", {"width": 1.5}, "`width` is to be a whole number above 0"),
        ("resnet50", {"base_width": 0}, "`base_width` is to be a whole number above 0"),
    ],
)
def test_what_no_network_has_is_refused(name: str, wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        build("wide_resnet", name, wrong, 10)


@pytest.mark.parametrize("name", ["wrn", "wrn_block", "wrn_deepening", "wrn18_imagenet", "wrn34_imagenet"])
def test_every_parameter_takes_part(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name](width=0.5, classes=3, in_channels=1).train()
    model(torch.randn(2, 1, 64, 64)).square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label


def test_the_builders_make_what_they_say() -> None:
    with torch.device("meta"):
        assert isinstance(wrn_block("3-3", 28, 2), WideResNet)
        for build_one, depth in ((wrn18_imagenet, 18), (wrn34_imagenet, 34)):
            layers = build_one(2.0).modules()
            convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d) and layer.kernel_size[0] > 1]
            assert len(convolutions) == depth - 1  # the classifier is the last layer
            assert convolutions[0].out_channels == 64 and convolutions[1].out_channels == 128
