"""Pre-activation ResNet against the formulas of its paper, written out with plain functions."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shared.baselines.preact_resnet import ImageNetPreactResNet, PreactResNet
from tests.statistics import with_statistics


def by_hand(state: dict[str, Tensor], images: Tensor, blocks: tuple[int, ...], *, large: bool = False) -> Tensor:
    """x + F(x) of every block, F(x) = W3 a(W2 a(W1 a(x))) and a = ReLU of the normalised channels that are read.

    `blocks` are those of each stage; the first block of each but the first strides.
    """
    starts = {sum(blocks[:stage]) for stage in range(1, len(blocks))}

    def act(x: Tensor, norm: str, select: str | None = None) -> Tensor:
        if select is not None:
            x = x[:, state[f"{select}.index"]]
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        scale, shift = state[f"{norm}.weight"], state[f"{norm}.bias"]
        normed = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
        return (normed * scale[:, None, None] + shift[:, None, None]).clamp(min=0)

    if large:
        x = functional.conv2d(images, state["stem.0.weight"], stride=2, padding=3)
        x = functional.max_pool2d(act(x, "stem.1"), 3, 2, 1)
    else:
        x = functional.conv2d(images, state["stem.weight"], padding=1)
    for number in range(sum(blocks)):
        name, stride = f"blocks.{number}", 2 if number in starts else 1
        y = functional.conv2d(act(x, f"{name}.body.1", f"{name}.body.0"), state[f"{name}.body.3.weight"])
        y = functional.conv2d(act(y, f"{name}.body.4"), state[f"{name}.body.6.weight"], stride=stride, padding=1)
        y = functional.conv2d(act(y, f"{name}.body.7"), state[f"{name}.body.9.weight"])
        if f"{name}.shortcut.weight" in state:
            x = functional.conv2d(x, state[f"{name}.shortcut.weight"], stride=stride)
        x = x + y
    features = (act(x, "head.0") if large else act(x, "head.1", "head.0")).mean((2, 3))
    return functional.linear(features, state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize("pruned", [False, True])
def test_the_network_is_its_formulas(pruned: bool) -> None:
    torch.manual_seed(0)
    widths = "3-8-7-16-5-8-32-9-16-40-16-11-64-32-30-100-32-32-77" if pruned else ""
    network = with_statistics(PreactResNet(20, width=0.5, widths=widths).double())
    state = network.state_dict()
    for name in [name for name in state if name.endswith(".index")]:  # any channels, not only the first
        layer = network.get_submodule(name.removesuffix(".index"))
        state[name].copy_(torch.randperm(layer.channels)[: len(state[name])].sort().values)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        expected = by_hand(state, images, (2, 2, 2))
        assert expected.std() > 1e-2
        torch.testing.assert_close(network(images), expected)


def test_resnet_200_is_its_formulas() -> None:
    torch.manual_seed(0)
    network = with_statistics(ImageNetPreactResNet(classes=5))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = by_hand(network.state_dict(), images, (3, 24, 36, 3), large=True)
        assert expected.std() > 1e-2
        torch.testing.assert_close(network(images), expected, atol=1e-3, rtol=1e-3)
    convolutions = [name for name in network.state_dict() if re.fullmatch(r".*body\.[369]\.weight|stem.0.weight", name)]
    assert len(convolutions) == 199  # and the classifier


@pytest.mark.parametrize(("depth", "expected"), [(164, 1703258), (110, 1146842)])
def test_sizes(depth: int, expected: int) -> None:
    """1,703,258 is what imgclsmob publishes for PreResNet-164(BN) too; the other by its formula."""
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in PreactResNet(depth).parameters()) == expected
    blocks, total, channels = (depth - 2) // 9, 3 * 16 * 9, 16
    for inner in (16, 32, 64):
        for number in range(blocks):
            total += channels * inner + 9 * inner * inner + inner * 4 * inner + 2 * (channels + 2 * inner)
            total += channels * 4 * inner if number == 0 else 0
            channels = 4 * inner
    assert total + 2 * channels + 10 * channels + 10 == expected


@pytest.mark.parametrize("depth", [2, 21, 168])
def test_a_depth_that_is_not_nine_n_plus_two_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="9 n \\+ 2"):
        PreactResNet(depth)


def test_a_width_that_leaves_no_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no channel"):
        PreactResNet(20, width=0.05)
