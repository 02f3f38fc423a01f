"""The module against a plain reading of equation 1, and the networks against their relatives."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from papers.res2net import DEFAULTS, MODELS
from papers.res2net.dla import dla60
from papers.res2net.model import First, Ladder, Rungs, Splits, res2net, res2next29
from shared.baselines.resnet import ResNet
from shared.measure import count
from tests.statistics import with_statistics

FEW = settings(max_examples=10, deadline=None)


def convolved(conv: Any, x: Tensor) -> Tensor:
    """relu(norm(3x3 convolution)), written out pixel by pixel over the kernel: x (C, H, W)."""
    kernel, norm = conv[0], conv[1]
    stride, groups = kernel.stride[0], kernel.groups
    outputs, inputs = len(kernel.weight), len(x) // groups
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    height, width = ((side - 1) // stride + 1 for side in x.shape[1:])
    y = torch.zeros(outputs, height, width, dtype=x.dtype)
    for o in range(outputs):
        first = o // (outputs // groups) * inputs
        for i in range(inputs):
            for row in range(3):
                for column in range(3):
                    seen = padded[first + i, row : row + stride * height : stride, column::stride]
                    y[o] += kernel.weight[o, i, row, column] * seen[:height, :width]
        factor = norm.weight[o] / torch.sqrt(norm.running_var[o] + norm.eps)
        y[o] = (y[o] - norm.running_mean[o]) * factor + norm.bias[o]
    return y.clamp(min=0)


@pytest.mark.parametrize("splits", [Splits(3, 2), Splits(2, 4), Splits(1, 5), Splits(2, 4, 2)])
def test_the_ladder_is_equation_1(splits: Splits) -> None:
    """y_1 = x_1; y_2 = K_2(x_2); y_i = K_i(x_i + y_{i-1}): the paper's order of groups; in ours the first is last."""
    torch.manual_seed(0)
    ladder: Any = with_statistics(Ladder(splits).double())
    x = torch.randn(2, splits.channels, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        found = ladder(torch.roll(x, -splits.each, 1))
        for image, output in zip(x, torch.roll(found, splits.each, 1), strict=True):
            groups = list(image.split(splits.each))
            expected = [groups[0]]
            for i in range(1, splits.scale):
                before = expected[i - 1] if i > 1 else 0
                expected.append(convolved(ladder.convs[i - 1], groups[i] + before))
            torch.testing.assert_close(output, torch.cat(expected), atol=1e-12, rtol=0)


@pytest.mark.parametrize("stride", [1, 2])
def test_rungs_are_convolved_alone_and_the_last_is_pooled(stride: int) -> None:
    torch.manual_seed(0)
    splits = Splits(2, 3, 2)
    rungs: Any = with_statistics(Rungs(splits, stride).double())
    x = torch.randn(1, splits.channels, 6, 6, dtype=torch.float64)
    with torch.no_grad():
        found = rungs(x)[0]
        groups = x[0].split(splits.each)
        padded = nn.functional.pad(groups[-1], (1, 1, 1, 1))
        pooled = padded.unfold(1, 3, stride).unfold(2, 3, stride).mean((3, 4))
        expected = [*(convolved(conv, group) for conv, group in zip(rungs.convs, groups, strict=False)), pooled]
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-12, rtol=0)


def test_each_group_sees_farther_than_the_one_before() -> None:
    """The receptive fields inside one layer (section 3.1): 3, 5, 7, ... pixels, and one of the group that passes."""
    splits = Splits(1, 5)
    ladder: Any = Ladder(splits).double()
    for conv in ladder.convs:
        nn.init.ones_(conv[0].weight)
    x = torch.rand(1, splits.channels, 15, 15, dtype=torch.float64, requires_grad=True)
    fields = []
    for y in ladder.eval()(x)[0]:
        (gradient,) = torch.autograd.grad(y[7, 7], x, retain_graph=True)
        fields.append(int((gradient.abs().sum((0, 1)) > 0).any(0).sum()))
    assert fields == [3, 5, 7, 9, 1]


def test_scale_1_is_resnet() -> None:
    torch.manual_seed(0)
    theirs = with_statistics(ResNet(50, classes=10))
    ours = MODELS["resnet50"](classes=10).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("first", get_args(First))
def test_what_the_first_block_of_a_stage_is(first: First) -> None:
    with torch.device("meta"):
        network: Any = res2net(50, first=first)
    kinds = {"pool": Rungs, "group": nn.Sequential, "text": Ladder}
    strides = {"pool": (1, 2), "group": (1, 2), "text": (2, 1)}  # of the 1x1 and of the 3x3 convolution
    for number, stage in enumerate(network.stages):
        assert [type(block.body[1]) for block in stage] == [kinds[first], *[Ladder] * (len(stage) - 1)]
        entry = stage[0].body
        middle = entry[1][0] if first == "group" else entry[1].convs[0][0]
        expected = strides[first] if number else (1, 1)
        assert (entry[0][0].stride[0], middle.stride[0]) == expected
        assert middle.groups == (4 if first == "group" else 1)


@pytest.mark.parametrize("name", ["res2net50", "res2net50_v1b", "res2net_dla60"])
def test_features_are_the_outputs_at_strides_4_to_32(name: str) -> None:
    with torch.device("meta"):
        network: Any = MODELS[name]().eval()
        taps = network.features(torch.empty(1, 3, 96, 64))
    assert [tuple(tap.shape[2:]) for tap in taps.values()] == [(24, 16), (12, 8), (6, 4), (3, 2)]


@FEW
@given(scale=st.integers(1, 6), cardinality=st.integers(1, 3), width=st.integers(1, 4), depth=st.sampled_from([11, 20]))
def test_any_cifar_network_is_as_large_as_its_layers(scale: int, cardinality: int, width: int, depth: int) -> None:
    with torch.device("meta"):
        network = res2next29(cardinality, width, scale, depth, base=8, classes=10)
    expected, channels = 3 * 9 * 8 + 2 * 8, 8
    for stage in range(3):
        each, outputs = cardinality * width * 2**stage, 32 * 2**stage
        inside, taps = scale * each, 9 * each * width * 2**stage + 2 * each
        for block in range((depth - 2) // 9):
            convs = scale if block == 0 else max(scale - 1, 1)
            expected += channels * inside + 2 * inside + convs * taps + inside * outputs + 2 * outputs
            expected += (channels * outputs + 2 * outputs) * (channels != outputs)
            channels = outputs
    assert count(network, (3, 32, 32)).params == expected + 128 * 10 + 10


def test_the_arms_of_small_and_gpu_are_equal_in_cost_and_the_winner_to_be_is_the_cheaper() -> None:
    for base, cardinality, widths in ((8, 1, (8, 3)), (32, 4, (32, 12))):
        costs = []
        for width, scale in zip(widths, (1, 4), strict=True):
            with torch.device("meta"):
                costs.append(count(res2next29(cardinality, width, scale, base=base, classes=10), (3, 32, 32)))
        plain, scaled = costs
        assert 0.93 < scaled.params / plain.params < 1 and 0.97 < scaled.macs / plain.macs < 1


def test_training_reaches_every_weight() -> None:
    torch.manual_seed(0)
    for name in ("res2net50", "res2net_dla60"):
        network = MODELS[name](width=2, classes=3)
        network(torch.randn(2, 3, 64, 64)).sum().backward()
        assert [label for label, p in network.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: res2net(34), "depth must be one of 50, 101, 152, 200, not 34"),
        (lambda: res2net(50, scale=0), "scale must be at least 1, not 0"),
        (lambda: res2net(50, width=-1), "width must be at least 1, not -1"),
        (lambda: res2net(50, first="none"), "first must be one of pool, group, text, not 'none'"),  # type: ignore[arg-type]
        (lambda: res2next29(depth=30), r"9 n \+ 2, such as 29 or 56, not 30"),
        (lambda: res2next29(depth=2), r"not 2"),
        (lambda: res2next29(base=0), "base must be at least 1, not 0"),
        (lambda: dla60(cardinality=0), "cardinality must be at least 1, not 0"),
    ],
)
def test_a_wrong_argument_is_named(make: Any, says: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=says):
        make()


def test_every_model_takes_other_images_and_classes() -> None:
    for name, build in MODELS.items():
        with torch.device("meta"):
            network = build(classes=7, in_channels=1).eval()
            assert network(torch.empty(1, 1, *DEFAULTS[name][0][1:])).shape == (1, 7)
