"""The attention modules against plain loops, numpy and timm, and the networks against what the paper says of them."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from papers.eca_net import MODELS
from papers.eca_net.model import (
    PUBLISHED,
    VARIANTS,
    ChannelAttention,
    Neighbours,
    attention_mobilenet_v2,
    attention_module,
    attention_resnet,
    attention_resnet20,
    kernel_size,
    kernel_sizes,
)
from tests.statistics import with_statistics

LETS = settings(max_examples=25, deadline=None)
ODD = st.sampled_from([1, 3, 5, 7, 9])


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def module_of(name: str, channels: int, k: int = 3, reduction: int = 16) -> ChannelAttention:
    make = attention_module(name, lambda _: k, reduction)
    assert make is not None
    module = make(channels)
    assert isinstance(module, ChannelAttention)
    return module.double()


def weights_of(module: nn.Module) -> list[np.ndarray]:
    return [parameter.detach().numpy() for parameter in module.parameters()]


def logits_by_loops(name: str, y: np.ndarray, w: list[np.ndarray]) -> np.ndarray:
    """f of one image, written out: y (C,) and the module's weights to (C,)."""
    channels = len(y)
    z = np.zeros(channels)
    for i in range(channels):
        if name == "se-var1":
            z[i] = y[i]
        elif name == "se-var2":
            z[i] = w[0][i, 0] * y[i]
        elif name == "se-var3":
            z[i] = sum(w[0][i, j] * y[j] for j in range(channels))
        elif name.startswith("se-gc"):
            size = w[0].shape[1]  # channels of a group
            first = i // size * size
            z[i] = sum(w[0][i, j, 0] * y[first + j] for j in range(size))
        elif name in ("eca", "eca-ns"):
            kernel = w[0][0, 0] if name == "eca" else w[0][i]
            for j, weight in enumerate(kernel):
                neighbour = i + j - len(kernel) // 2
                if 0 <= neighbour < channels:
                    z[i] += weight * y[neighbour]
        else:
            hidden = [max(sum(row[j] * y[j] for j in range(channels)), 0) for row in w[0]]
            z[i] = sum(w[1][i, h] * value for h, value in enumerate(hidden))
    return z


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_every_module_of_table_2_by_loops(name: str, k: int) -> None:
    torch.manual_seed(0)
    channels = 32
    module = module_of(name, channels, k, 4)
    x = torch.randn(2, channels, 3, 4, dtype=torch.float64) + torch.randn(2, channels, 1, 1, dtype=torch.float64)
    expected = np.stack([
        image * sigmoid(logits_by_loops(name, image.mean((1, 2)), weights_of(module)))[:, None, None]
        for image in x.numpy()
    ])  # fmt: skip
    np.testing.assert_allclose(module(x).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("channels", [16, 64, 256, 2048])
def test_eca_equals_timms_module(channels: int, timm: Any) -> None:
    from timm.layers import EcaModule

    torch.manual_seed(0)
    theirs = EcaModule(channels).double()
    ours = ChannelAttention(Neighbours(kernel_size(channels))).double()
    assert [tuple(w.shape) for w in theirs.parameters()] == [tuple(w.shape) for w in ours.parameters()]
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(3, channels, 4, 5, dtype=torch.float64) + torch.randn(3, channels, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), atol=1e-12, rtol=0)


# What a module of C channels adds, as table 2 prints it.
ADDED = {
    "se": lambda c, r, k: 2 * c * c // r,
    "se-var1": lambda c, r, k: 0,
    "se-var2": lambda c, r, k: c,
    "se-var3": lambda c, r, k: c * c,
    "se-gc1": lambda c, r, k: c * c // 16,
    "se-gc2": lambda c, r, k: 16 * c,
    "se-gc3": lambda c, r, k: 8 * c,
    "eca-ns": lambda c, r, k: k * c,
    "eca": lambda c, r, k: k,
}


@LETS
@given(name=st.sampled_from(list(VARIANTS)), sixteenth=st.integers(1, 40), r=st.sampled_from([2, 4, 8, 16]), k=ODD)
def test_what_a_module_of_table_2_adds(name: str, sixteenth: int, r: int, k: int) -> None:
    channels = 16 * sixteenth
    with torch.device("meta"):
        found = sum(w.numel() for w in module_of(name, channels, k, r).parameters())
    assert ADDED.keys() == VARIANTS.keys()
    assert found == ADDED[name](channels, r, k)


def test_without_attention_nothing_is_added() -> None:
    assert attention_module("none", lambda _: 3, 16) is None
    sizes = {}
    for name in ("none", "se-var1"):
        with torch.device("meta"):
            sizes[name] = sum(w.numel() for w in attention_resnet(50, name).parameters())
    assert sizes["none"] == sizes["se-var1"] == 25_557_032


def test_the_modules_of_ecanet50_have_80_parameters() -> None:
    """The abstract's number holds for the kernel sizes 3, 5, 5, 7 in 3, 4, 6 and 3 blocks, and for neither rule."""
    found = {}
    for kernel in ("published", "adaptive", "adaptive-planes"):
        with torch.device("meta"):
            network = attention_resnet(50, "eca", kernel)
        found[kernel] = sum(w.numel() for m in network.modules() if isinstance(m, Neighbours) for w in m.parameters())
    assert found == {"published": 80, "adaptive": 86, "adaptive-planes": 74}
    assert 3 * 3 + 4 * 5 + 6 * 5 + 3 * 7 == 80


def figure_3(channels: int, gamma: float, b: float) -> int:
    """The paper's code of the kernel size."""
    t = int(abs((math.log2(channels) + b) / gamma))
    return t if t % 2 else t + 1


@given(channels=st.integers(1, 1 << 14), gamma=st.sampled_from([1, 2, 3]), b=st.sampled_from([0, 1, 2]))
def test_the_code_of_figure_3_is_equation_12_with_ties_to_the_larger(channels: int, gamma: int, b: int) -> None:
    found = kernel_size(channels, gamma, b)
    assert found == figure_3(channels, gamma, b) and found % 2 == 1
    t = (math.log2(channels) + b) / gamma
    assert abs(found - t) == pytest.approx(min(abs(odd - t) for odd in range(1, 31, 2)))


def test_the_kernel_sizes_of_both_readings() -> None:
    powers = {channels: kernel_size(channels) for channels in (16, 32, 64, 128, 256, 512, 1024, 2048)}
    assert powers == {16: 3, 32: 3, 64: 3, 128: 5, 256: 5, 512: 5, 1024: 5, 2048: 7}
    bottleneck, planes = (256, 512, 1024, 2048), (64, 128, 256, 512)
    assert list(kernel_sizes("adaptive", bottleneck, planes).values()) == [5, 5, 5, 7]
    assert list(kernel_sizes("adaptive-planes", bottleneck, planes).values()) == [3, 5, 5, 5]
    assert kernel_sizes("3557", bottleneck, planes) == {256: 3, 512: 5, 1024: 5, 2048: 7}


def test_no_reading_gives_the_published_sizes() -> None:
    bottleneck, planes = (256, 512, 1024, 2048), (64, 128, 256, 512)
    rules = {
        "".join(map(str, kernel_sizes(rule, channels, planes).values()))
        for rule in ("adaptive", "adaptive-planes") for channels in (bottleneck, planes)
    }  # fmt: skip
    assert rules == {"5557", "3555"} and not rules & set(PUBLISHED.values())


@pytest.mark.parametrize("depth", PUBLISHED)
def test_the_published_sizes_are_the_default(depth: int) -> None:
    with torch.device("meta"):
        network: Any = attention_resnet(depth)
    sizes = [{m.conv.kernel_size[0] for m in stage.modules() if isinstance(m, Neighbours)} for stage in network.stages]
    assert sizes == [{int(digit)} for digit in PUBLISHED[depth]]


@pytest.mark.parametrize(("kernel", "small", "large"), [("13", {1}, {3}), ("adaptive", {3}, {3, 5})])
def test_the_kernel_sizes_of_mobilenet_v2(kernel: str, small: set[int], large: set[int]) -> None:
    seen: dict[bool, set[int]] = {False: set(), True: set()}
    blocks = [layer for layer in attention_mobilenet_v2("eca", kernel).layers if hasattr(layer, "residual")]
    for block in blocks:
        seen[block.body[-2][1].num_features >= 96].add(block.body[-1].mix.conv.kernel_size[0])
    assert len(blocks) == 17 and seen == {False: small, True: large}


@pytest.mark.parametrize(
    ("name", "wrong", "match"),
    [
        ("eca_resnet50", {"kernel": "355"}, "adaptive, adaptive-planes or 4 digits, not 355"),
        ("eca_resnet50", {"kernel": "largest"}, "4 digits, not largest"),
        ("eca_resnet50", {"kernel": "3456"}, "must be odd, not 4"),
        ("attention_resnet50", {"attention": "cbam"}, "one of se, se-var1.* not cbam"),
        ("attention_resnet50", {"attention": "eca-ns", "kernel": "2222"}, "must be odd, not 2"),
        ("eca_mobilenet_v2", {"kernel": "3557"}, "adaptive or two digits, not 3557"),
        ("resnet20", {"width": 0.01}, "leaves no channel"),
    ],
)
def test_what_no_network_has_is_refused(name: str, wrong: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        MODELS[name](**wrong)


@pytest.mark.parametrize(("depth", "blocks"), [(18, "BasicBlock"), (50, "Bottleneck")])
@pytest.mark.parametrize("attention", ["eca", "se"])
def test_networks_equal_timms(depth: int, blocks: str, attention: str, timm: Any) -> None:
    """Equal weights, in the order in which both networks hold them, give outputs equal to 1e-4."""
    from timm.layers import EcaModule, SEModule
    from timm.models import resnet as theirs

    squeeze = functools.partial(SEModule, bias=False, rd_divisor=1)
    torch.manual_seed(0)
    layers = {18: [2, 2, 2, 2], 50: [3, 4, 6, 3]}[depth]
    attention_layer = {"eca": EcaModule, "se": squeeze}[attention]
    reference = theirs.ResNet(getattr(theirs, blocks), layers, block_args={"attn_layer": attention_layer})
    reference = with_statistics(reference)
    ours = attention_resnet(depth, attention, "adaptive").eval()
    pairs = zip(ours.state_dict().items(), reference.state_dict().values(), strict=True)
    ours.load_state_dict({label: value.reshape(mine.shape) for (label, mine), value in pairs})
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = reference(images)
        assert expected.std() > 1e-2
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [*MODELS, *(f"attention_resnet20:{variant}" for variant in VARIANTS)])
def test_every_parameter_takes_part(name: str) -> None:
    torch.manual_seed(0)
    name, _, variant = name.partition(":")
    args: dict[str, Any] = {"attention": variant} if variant else {} if "mobilenet" in name else {"width": 0.5}
    model = MODELS[name](**args, classes=3).train()
    images: Tensor = torch.randn(2, 3, 64, 64)
    model(images).square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label


def test_detectors_get_the_outputs_of_every_stage() -> None:
    images = torch.empty(1, 3, 64, 96, device="meta")
    shapes = {
        "resnet50": {"stage1": (256, 16, 24), "stage2": (512, 8, 12), "stage3": (1024, 4, 6), "stage4": (2048, 2, 3)},
        "mobilenet_v2": {"stage1": (24, 16, 24), "stage2": (32, 8, 12), "stage3": (96, 4, 6), "stage4": (320, 2, 3)},
        "resnet20": {"stage1": (16, 64, 96), "stage2": (32, 32, 48), "stage3": (64, 16, 24)},
    }
    for name, expected in shapes.items():
        for prefix in ("", "se_", "eca_"):
            with torch.device("meta"):
                network: Any = MODELS[prefix + name]()
            taps = network.features(images)
            assert {tap: tuple(found.shape[1:]) for tap, found in taps.items()} == expected


def test_attention_changes_what_a_network_gives() -> None:
    """Networks with equal weights but for the modules differ: the modules are in use."""
    torch.manual_seed(0)
    plain, eca = attention_resnet20("none").eval(), attention_resnet20("eca").eval()
    shared = plain.state_dict()
    missing = eca.load_state_dict(shared, strict=False)
    assert not missing.unexpected_keys and len(missing.missing_keys) == 9
    images = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(plain(images), eca(images), atol=1e-3)
