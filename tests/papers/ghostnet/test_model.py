"""The Ghost module against plain loops, and the networks against what the paper says of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from papers.ghostnet import DEFAULTS, MODELS
from papers.ghostnet.model import (
    TABLE_1,
    GhostModule,
    GhostNet,
    ghost_vgg16,
    round_channels,
    theoretical_speed_up,
    vgg16,
)
from shared.layers.squeeze_excite import SqueezeExcite
from shared.measure import count
from tests.statistics import with_statistics

LETS = settings(max_examples=25, deadline=None)


def convolution(x: np.ndarray, weight: np.ndarray, stride: int, groups: int) -> np.ndarray:
    """Plain loops: x (C, H, W), weight (O, C / groups, K, K), zero padding K // 2."""
    out_channels, per_group, kernel, _ = weight.shape
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = (math.ceil(size / stride) for size in x.shape[1:])
    y = np.zeros((out_channels, height, width))
    for o in range(out_channels):
        first = o // (out_channels // groups) * per_group
        for i in range(height):
            for j in range(width):
                for c in range(per_group):
                    for u in range(kernel):
                        for v in range(kernel):
                            y[o, i, j] += weight[o, c, u, v] * padded[first + c, i * stride + u, j * stride + v]
    return y


def normalised(y: np.ndarray, layer: nn.BatchNorm2d) -> np.ndarray:
    mean, var, weight, bias = (
        tensor.detach().double().numpy()[:, None, None]
        for tensor in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
        if tensor is not None
    )
    return (y - mean) / np.sqrt(var + layer.eps) * weight + bias


@pytest.mark.parametrize(("s", "d", "kernel", "stride", "act"), [
    (2, 3, 1, 1, nn.ReLU), (3, 5, 3, 1, nn.ReLU), (4, 1, 3, 2, None), (2, 3, 3, 2, nn.ReLU),
])  # fmt: skip
def test_the_module_is_equations_2_and_3(s: int, d: int, kernel: int, stride: int, act: type[nn.Module] | None) -> None:
    torch.manual_seed(0)
    module = with_statistics(GhostModule(3, 7, kernel, s=s, d=d, stride=stride, act=act)).double()
    assert isinstance(module, GhostModule) and module.cheap is not None
    x = torch.randn(1, 3, 6, 5, dtype=torch.float64)

    def half(y: np.ndarray, layers: nn.Sequential, stride: int, groups: int) -> np.ndarray:
        conv, norm = layers[0], layers[1]
        assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        y = normalised(convolution(y, conv.weight.detach().numpy(), stride, groups), norm)
        return y if act is None else np.maximum(y, 0)

    intrinsic = half(x[0].numpy(), module.primary, stride, 1)
    assert len(intrinsic) == math.ceil(7 / s)
    ghosts = half(intrinsic, module.cheap, 1, len(intrinsic))
    expected = np.concatenate([intrinsic, ghosts])[:7]
    np.testing.assert_allclose(module(x)[0].detach().numpy(), expected, atol=1e-10)


@LETS
@given(
    s=st.integers(1, 5), d=st.sampled_from([1, 3, 5]), kernel=st.sampled_from([1, 3]), stride=st.integers(1, 2),
    channels=st.integers(1, 9), out=st.integers(1, 17), size=st.integers(4, 9),
)  # fmt: skip
def test_shapes(s: int, d: int, kernel: int, stride: int, channels: int, out: int, size: int) -> None:
    module = GhostModule(channels, out, kernel, s=s, d=d, stride=stride).eval()
    expected = math.ceil(size / stride)
    assert module(torch.randn(2, channels, size, size)).shape == (2, out, expected, expected)


@LETS
@given(
    s=st.sampled_from([2, 4, 8]), d=st.sampled_from([1, 3, 5, 7]), kernel=st.sampled_from([1, 3]), c=st.integers(1, 32)
)
def test_equation_4_is_what_the_counter_finds(s: int, d: int, kernel: int, c: int) -> None:
    plain = count(nn.Conv2d(c, 16, kernel, padding=kernel // 2, bias=False), (c, 4, 4)).macs
    ghost = count(GhostModule(c, 16, kernel, s=s, d=d), (c, 4, 4)).macs
    assert math.isclose(plain / ghost, theoretical_speed_up(c, kernel, s, d))


def test_one_map_each_is_an_ordinary_convolution() -> None:
    torch.manual_seed(0)
    module = with_statistics(GhostModule(3, 8, 3, s=1, stride=2))
    plain = with_statistics(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU()))
    plain.load_state_dict(dict(zip(plain.state_dict(), module.state_dict().values(), strict=True)))
    images = torch.randn(2, 3, 7, 6)
    assert torch.equal(module(images), plain(images))


@pytest.mark.parametrize(("width", "expected"), [(0.5, 2587292), (1.0, 5182508), (1.3, 7358820)])
def test_ghostnet_has_the_size_of_the_pytorch_release(width: float, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in GhostNet(width).parameters()) == expected


def test_the_rounding_rules_agree_and_differ_where_the_releases_do() -> None:
    def widths(width: float, rule: str) -> list[int]:
        return [round_channels(full * width, rule) for row in TABLE_1 for full in row[1:3]]  # type: ignore[arg-type]

    for width in (0.5, 1.0):
        assert widths(width, "pytorch") == widths(width, "tensorflow")
    assert widths(1.1, "pytorch") != widths(1.1, "tensorflow")
    with pytest.raises(ValueError, match="pytorch or tensorflow"):
        round_channels(16, "caffe")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"head": "pytorch"}, {"gate": "sigmoid"}, {"rounding": "caffe"}, {"width": 0}])
def test_a_ghostnet_that_no_release_has_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}.* not .*{next(iter(wrong.values()))}"):
        GhostNet(**wrong)


@pytest.mark.parametrize("wrong", [{"s": 0}, {"d": 2}])
def test_a_module_that_makes_no_sense_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="s must be at least 1 and d odd"):
        GhostModule(3, 8, **wrong)


@pytest.mark.parametrize(("rounding", "squeezes"), [("pytorch", [20, 32]), ("tensorflow", [18, 30])])
def test_the_releases_differ_in_the_squeeze(rounding: Any, squeezes: list[int]) -> None:
    """Of 72 and of 120 channels: the nearest multiple of 4, or a quarter."""
    layers = [layer for layer in GhostNet(rounding=rounding).modules() if isinstance(layer, SqueezeExcite)]
    assert [layer.reduce.out_channels for layer in layers] == [*squeezes, 120, 168, 168, 240, 240]


def test_the_releases_differ_in_head_and_gate() -> None:
    names = {head: set(GhostNet(head=head).state_dict()) for head in ("bias", "norm")}  # type: ignore[arg-type]
    assert names["bias"] - names["norm"] == {"head.0.bias"}
    assert {name.rpartition(".")[0] for name in names["norm"] - names["bias"]} == {"head.1"}
    torch.manual_seed(0)
    hard, clip = GhostNet(0.5).eval(), GhostNet(0.5, gate="clip").eval()
    clip.load_state_dict(hard.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(hard(images), clip(images))


def test_detectors_get_the_outputs_of_four_blocks() -> None:
    with torch.device("meta"):
        taps = GhostNet().features(torch.empty(1, 3, 64, 96))
    assert {name: tuple(tap.shape[1:]) for name, tap in taps.items()} == {
        "block3": (24, 16, 24), "block5": (40, 8, 12), "block11": (112, 4, 6), "block16": (160, 2, 3),
    }  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_takes_part(name: str) -> None:
    """A layer without a gradient, or with one of zeros, is dead, as half of a published Ghost-ResNet is."""
    torch.manual_seed(0)
    shape, _ = DEFAULTS[name]
    model = MODELS[name](classes=3).train()
    images: Tensor = torch.randn(2, shape[0], min(shape[1], 64), min(shape[2], 64))
    model(images).square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label


@pytest.mark.parametrize("build", [vgg16, ghost_vgg16])
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (1, 32), (3, 28), (3, 32)])
def test_vgg_sees_small_images(build: Callable[..., nn.Module], channels: int, size: int) -> None:
    model = build(width=0.125, in_channels=channels).eval()
    assert model(torch.randn(2, channels, size, size)).shape == (2, 10)
