"""The classifiers, against a forward pass of their own in float64, and adder layers against their twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from papers.adder_detection import DEFAULTS, MODELS
from papers.adder_detection.adder import Adder2d
from papers.adder_detection.model import AdderCifarResNet
from shared.measure import count

SMALL = {"width": 0.25}
ALL = pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("adder_")])
Weights = dict[str, np.ndarray]


def disturbed(network: nn.Module) -> nn.Module:
    """Statistics, scales and shifts that are not those of a fresh network, so that a wrong order of layers shows."""
    generator = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_var is not None and module.running_mean is not None
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 2, generator=generator)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(generator=generator)
    return network


def layer(x: np.ndarray, weight: np.ndarray, stride: int, adder: bool) -> np.ndarray:
    """(C, H, W) and (O, C, k, k) to (O, H', W'), half the kernel padded, one output position at a time."""
    out_channels, _, kernel, _ = weight.shape
    pad = kernel // 2
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    height, width = ((side + 2 * pad - kernel) // stride + 1 for side in x.shape[1:])
    y = np.empty((out_channels, height, width))
    for row in range(height):
        for column in range(width):
            top, left = row * stride, column * stride
            window = padded[:, top : top + kernel, left : left + kernel]
            both = -np.abs(window - weight) if adder else window * weight
            y[:, row, column] = both.sum(axis=(1, 2, 3))
    return y


def norm(x: np.ndarray, w: Weights, name: str) -> np.ndarray:
    shape = (-1,) + (1,) * (x.ndim - 1)
    scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + 1e-5)
    return (x - w[f"{name}.running_mean"].reshape(shape)) * scale.reshape(shape) + w[f"{name}.bias"].reshape(shape)


def resnet20(image: np.ndarray, w: Weights, adder: bool) -> np.ndarray:
    def normed(x: np.ndarray, name: str, stride: int = 1, adds: bool = adder) -> np.ndarray:
        return norm(layer(x, w[f"{name}.0.weight"], stride, adds), w, f"{name}.1")

    x = np.maximum(normed(image, "stem", adds=False), 0)
    for stage in range(3):
        for block in range(3):
            name = f"stages.{stage}.{block}"
            stride = 2 if stage and not block else 1
            y = normed(np.maximum(normed(x, f"{name}.body.0", stride), 0), f"{name}.body.1")
            x = np.maximum(y + (normed(x, f"{name}.shortcut", stride) if stride == 2 else x), 0)
    return norm(w["classifier.0.weight"] @ x.mean(axis=(1, 2)), w, "classifier.1")


@pytest.mark.parametrize("adder", [True, False])
def test_resnet20_is_what_plain_loops_compute(adder: bool) -> None:
    torch.manual_seed(0)
    network = disturbed(AdderCifarResNet(20, adder, width=0.25)).eval()
    image = torch.randn(2, 3, 12, 10)
    weights = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    expected = np.stack([resnet20(one, weights, adder) for one in image.double().numpy()])
    with torch.no_grad():
        found = network(image).numpy()
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@ALL
def test_the_twin_differs_in_its_layers_alone(name: str) -> None:
    shape, classes = DEFAULTS[name]
    with torch.device("meta"):
        adding = MODELS[name](**SMALL, classes=classes)
        twin = MODELS[name.removeprefix("adder_")](**SMALL, classes=classes)
    assert [(key, tensor.shape) for key, tensor in adding.state_dict().items()] == [
        (key, tensor.shape) for key, tensor in twin.state_dict().items()
    ]
    kinds = set()
    for (key, ours), (other, theirs) in zip(adding.named_modules(), twin.named_modules(), strict=True):
        assert key == other
        if type(ours) is not type(theirs):
            kinds.add((type(ours), type(theirs)))
            assert ours.stride == (theirs.stride if isinstance(ours.stride, tuple) else theirs.stride[0])
    assert kinds <= {(Adder2d, nn.Conv2d), (type(adding), type(twin))}
    assert (Adder2d, nn.Conv2d) in kinds
    found, plain = count(adding, shape), count(twin, shape)
    assert (found.params, found.macs + found.adder_taps, plain.adder_taps) == (plain.params, plain.macs, 0)


@ALL
def test_only_the_first_convolution_and_the_classifier_multiply(name: str) -> None:
    with torch.device("meta"):
        network = MODELS[name](**SMALL, classes=10)
    multiplying = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert [type(module) for module in multiplying] == [nn.Conv2d, nn.Linear]
    assert multiplying[0].in_channels == 3
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            parts = list(module)
            for adder, after in zip(parts, [*parts[1:], None], strict=True):
                assert not isinstance(adder, Adder2d) or isinstance(after, nn.BatchNorm2d)


@pytest.mark.parametrize("name", ["adder_resnet20", "adder_vgg_small", "adder_resnet18", "adder_resnet50"])
@pytest.mark.parametrize("input_gradient", ["sign", "clip"])
def test_every_parameter_gets_a_gradient(name: str, input_gradient: str) -> None:
    torch.manual_seed(0)
    network = MODELS[name](width=0.125, input_gradient=input_gradient, classes=4)
    image = torch.randn(4, 3, 32, 32)
    nn.functional.cross_entropy(network(image), torch.arange(4)).backward()
    silent = [
        key
        for key, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all() or not parameter.grad.any()
    ]
    # A bias right before batch normalisation changes nothing: the normalisation takes it away again.
    assert [key for key in silent if key != "classifier.0.bias"] == []


@pytest.mark.parametrize(
    ("name", "channels", "strides"),
    [
        ("adder_resnet20", (4, 8, 16), (1, 2, 4)),
        ("adder_resnet18", (16, 32, 64, 128), (4, 8, 16, 32)),
        ("adder_resnet50", (64, 128, 256, 512), (4, 8, 16, 32)),
    ],
)
def test_taps_have_names_channels_and_strides(name: str, channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    with torch.device("meta"):
        network: Any = MODELS[name](**SMALL, classes=10)
        taps = network.features(torch.empty(2, 3, 64, 96))
    expected = {
        f"stage{number}": (2, width, 64 // stride, 96 // stride)
        for number, (width, stride) in enumerate(zip(channels, strides, strict=True), start=1)
    }
    assert {tap: tuple(output.shape) for tap, output in taps.items()} == expected


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_a_depth_that_no_network_has_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=rf"6 n \+ 2 .* not {depth}"):
        AdderCifarResNet(depth)


def test_an_unknown_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match="input_gradient"):
        MODELS["adder_resnet20"](input_gradient="exact", classes=10)
