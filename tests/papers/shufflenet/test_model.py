"""The unit and the networks against a plain reading of the paper in float64, and against what it says of them."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.shufflenet import DEFAULTS, MODELS
from papers.shufflenet.model import STAGE_2, ShuffleNet, ShuffleUnit, shuffle_layer, stage_channels, stem_channels
from papers.shufflenet.units import UNITS, UnitNetwork
from tests.statistics import with_statistics


def windows(x: Tensor, stride: int) -> Tensor:
    """The 3x3 neighbourhoods of (N, C, H, W), zeros beyond the border: (N, C, H', W', 3, 3), by plain indexing."""
    n, c, h, w = x.shape
    padded = torch.zeros(n, c, h + 2, w + 2, dtype=x.dtype)
    padded[:, :, 1:-1, 1:-1] = x
    rows, columns = range(0, h, stride), range(0, w, stride)
    patches = [torch.stack([padded[:, :, i : i + 3, j : j + 3] for j in columns], 2) for i in rows]
    return torch.stack(patches, 2)


class Plain:
    """ShuffleNet read off the paper, from the weights of ours, in float64 and without a layer of PyTorch's."""

    def __init__(self, network: nn.Module, groups: int, shuffled: bool = True, permutation: str = "paper") -> None:
        self.state = {name: tensor.double() for name, tensor in network.state_dict().items()}
        self.groups, self.shuffled, self.permutation = groups, shuffled, permutation

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (
            self.state[f"{name}.1.{key}"].view(-1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def pointwise(self, x: Tensor, name: str, groups: int) -> Tensor:
        weight = self.state[f"{name}.0.weight"][:, :, 0, 0]
        inputs, outputs = x.chunk(groups, 1), weight.chunk(groups, 0)
        mixed = [torch.einsum("oc,nchw->nohw", w, part) for w, part in zip(outputs, inputs, strict=True)]
        return self.norm(torch.cat(mixed, 1), name)

    def depthwise(self, x: Tensor, name: str, stride: int) -> Tensor:
        weight = self.state[f"{name}.0.weight"][:, 0]
        return self.norm(torch.einsum("nchwij,cij->nchw", windows(x, stride), weight), name)

    def shuffle(self, x: Tensor) -> Tensor:
        """Section 3.1: g x n channels, transposed and flattened; the official code writes n x g."""
        n = x.shape[1] // self.groups
        first, second = (self.groups, n) if self.permutation == "paper" else (n, self.groups)
        return torch.stack([x[:, row * second + column] for column in range(second) for row in range(first)], 1)

    def unit(self, x: Tensor, name: str, stride: int, *, grouped: bool = True) -> Tensor:
        y = self.pointwise(x, f"{name}.reduce", self.groups if grouped else 1).clamp(min=0)
        if self.shuffled:
            y = self.shuffle(y)
        y = self.pointwise(self.depthwise(y, f"{name}.spatial", stride), f"{name}.expand", self.groups)
        if stride == 1:
            return (x + y).clamp(min=0)
        return torch.cat([windows(x, 2).mean((4, 5)), y], 1).clamp(min=0)

    def __call__(self, images: Tensor) -> Tensor:
        stem = torch.einsum("nchwij,ocij->nohw", windows(images, 2), self.state["stem.0.weight"])
        x = windows(self.norm(stem, "stem").clamp(min=0), 2).amax((4, 5))
        for stage, count in enumerate((4, 8, 4)):
            for number in range(count):
                grouped = stage > 0 or number > 0
                x = self.unit(x, f"stages.{stage}.{number}", 1 if number else 2, grouped=grouped)
        return x.mean((2, 3)) @ self.state["classifier.weight"].T


@pytest.mark.parametrize(("groups", "scale", "shuffled", "permutation"), [
    (1, 0.25, True, "paper"), (2, 0.25, True, "paper"), (3, 0.25, True, "code"), (4, 0.5, True, "paper"),
    (8, 0.25, True, "paper"), (8, 0.25, False, "paper"), (3, 1.0, True, "paper"),
])  # fmt: skip
def test_networks_equal_a_plain_reading(groups: int, scale: float, shuffled: bool, permutation: Any) -> None:
    torch.manual_seed(0)
    network = ShuffleNet(groups, scale, shuffled, permutation=permutation, classes=7)
    ours = with_statistics(network).double()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        expected = Plain(ours, groups, shuffled and groups > 1, permutation)(images)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(images), expected, atol=1e-10, rtol=1e-10)


def incidence(channels: int, groups: int, permutation: Any) -> Tensor:
    """How many channels each group (column) has from each group (row) before the shuffle."""
    index = shuffle_layer(channels, groups, permutation).index
    n = channels // groups
    counts = torch.zeros(groups, groups, dtype=torch.int64)
    for place, source in enumerate(index.tolist()):
        counts[source // n, place // n] += 1
    return counts


@pytest.mark.parametrize(("channels", "groups", "same"), [
    (36, 3, True), (60, 3, True), (64, 4, True), (128, 8, True),  # g divides n, except in 60 / 3
    (96, 8, False), (136, 4, False),  # 1x, stage 2 with eight groups and stage 3 with four
])  # fmt: skip
def test_the_permutations_undo_each_other_and_join_groups_alike_or_not(channels: int, groups: int, same: bool) -> None:
    paper, code = (shuffle_layer(channels, groups, one).index for one in ("paper", "code"))  # type: ignore[arg-type]
    assert torch.equal(paper[code], torch.arange(channels)) and not torch.equal(paper, code)
    counts = incidence(channels, groups, "paper")
    assert torch.equal(incidence(channels, groups, "code"), counts.T)
    assert torch.equal(counts, counts.T) == same
    assert (counts == counts[0, 0]).all() == ((channels // groups) % groups == 0)


def test_of_three_groups_the_permutations_join_groups_alike_whatever_n() -> None:
    for n in range(1, 30):
        assert torch.equal(incidence(3 * n, 3, "paper"), incidence(3 * n, 3, "code")), n


def test_where_groups_are_joined_alike_the_permutations_are_one_network() -> None:
    """Both shuffles of 60 channels in three groups, the channels of one renamed within their groups."""
    torch.manual_seed(0)
    channels, groups = 60, 3
    units = {one: ShuffleUnit(240, 240, groups, permutation=one) for one in ("paper", "code")}  # type: ignore[arg-type]
    paper = with_statistics(units["paper"])
    assert isinstance(paper, ShuffleUnit)
    edges: dict[str, dict[tuple[int, int], list[tuple[int, int]]]] = {}
    for one in ("paper", "code"):
        places = enumerate(shuffle_layer(channels, groups, one).index.tolist())  # type: ignore[arg-type]
        for place, source in places:
            edges.setdefault(one, {}).setdefault((source // 20, place // 20), []).append((source, place))
    before, after = torch.empty(channels, dtype=torch.int64), torch.empty(channels, dtype=torch.int64)
    for pair, ours in edges["paper"].items():
        for (source, place), (their_source, their_place) in zip(ours, edges["code"][pair], strict=True):
            before[their_source], after[their_place] = source, place
    state = dict(paper.state_dict())
    for name in list(state):
        layer = name.partition(".")[0]
        if layer in ("reduce", "spatial") and state[name].ndim:
            state[name] = state[name][before if layer == "reduce" else after]
    columns = [after[20 * (row // 80) : 20 * (row // 80) + 20] % 20 for row in range(240)]
    weight = state["expand.0.weight"]
    state["expand.0.weight"] = torch.stack([w[c] for w, c in zip(weight, columns, strict=True)])
    state["shuffle.index"] = units["code"].shuffle.index
    renamed = units["code"].eval()
    renamed.load_state_dict(state)
    x = torch.rand(2, 240, 5, 5)
    torch.testing.assert_close(renamed(x), paper(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("groups", "shuffled"), [(3, True), (3, False), (8, True), (8, False)])
def test_without_shuffle_a_group_never_hears_of_another(groups: int, shuffled: bool) -> None:
    """Figure 1: the gradient of one group's outputs by the inputs of a stride-1 unit."""
    torch.manual_seed(0)
    channels = 32 * groups * groups  # so that g divides the n channels of a bottleneck's group
    unit = ShuffleUnit(channels, channels, groups, shuffle=shuffled).eval()
    x = torch.rand(1, channels, 4, 4, requires_grad=True)
    branch = unit.expand(unit.spatial(unit.shuffle(unit.reduce(x))))
    branch[:, : channels // groups].sum().backward()
    assert x.grad is not None
    heard = [bool(part.any()) for part in x.grad.chunk(groups, 1)]
    assert heard == ([True] * groups if shuffled else [True] + [False] * (groups - 1))


def test_scaled_widths_are_divisible_and_those_the_paper_and_its_code_name() -> None:
    for groups, scale in product(STAGE_2, (0.25, 0.5, 1.0, 1.5, 2.0)):
        widths = stage_channels(groups, scale)
        assert all(width % (4 * groups) == 0 for width in widths)
        assert stem_channels(groups, scale) % groups == 0
    for groups, width in STAGE_2.items():
        assert stage_channels(groups, 1.0) == (width, 2 * width, 4 * width)
    assert stage_channels(4, 0.5)[2] == 576  # section 4.2
    official = {
        (3, 0.5): (12, 120), (3, 1.0): (24, 240), (3, 1.5): (24, 360), (3, 2.0): (48, 480),
        (8, 0.5): (16, 192), (8, 1.0): (24, 384), (8, 1.5): (24, 576), (8, 2.0): (48, 768),
    }  # fmt: skip
    for (groups, scale), (stem, width) in official.items():
        assert (stem_channels(groups, scale), stage_channels(groups, scale)[0]) == (stem, width)


@pytest.mark.parametrize("wrong", [
    {"groups": 5}, {"scale": 0}, {"scale": -1}, {"permutation": "caffe"}, {"repeats": "4-8"}, {"repeats": "4-0-4"},
    {"stem_stride": 3}, {"stem": 20},
])  # fmt: skip
def test_a_network_that_makes_no_sense_is_refused(wrong: Any) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match="groups must divide" if name == "stem" else f"{name} must be .*{value}"):
        ShuffleNet(**wrong)


@pytest.mark.parametrize("wrong", [{"unit": "xception"}, {"channels": 3}, {"stem": 0}])
def test_a_unit_network_that_makes_no_sense_is_refused(wrong: Any) -> None:
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name} .*must be .*{value}|{name} at least .*{value}"):
        UnitNetwork(**wrong)


@pytest.mark.parametrize("wrong", [(16, 16, 4, 3), (16, 32, 2, 1), (16, 24, 4, 2)])
def test_a_unit_that_makes_no_sense_is_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="must"):
        ShuffleUnit(*wrong)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_takes_part(name: str) -> None:
    torch.manual_seed(0)
    (channels, size, _), _ = DEFAULTS[name]
    network = MODELS[name](classes=3).train()
    network(torch.randn(2, channels, min(size, 64), min(size, 64))).square().sum().backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label


def test_squeeze_and_excitation_stands_in_every_unit() -> None:
    network = ShuffleNet(scale=0.25, se=True)
    assert sum(name.endswith("se.reduce.weight") for name in network.state_dict()) == 16
    images = torch.randn(1, 3, 64, 64)
    assert network.eval()(images).shape == (1, 1000)


@pytest.mark.parametrize("unit", UNITS)
def test_the_shortcut_of_a_residual_unit_is_what_is_left_without_its_branch(unit: str) -> None:
    torch.manual_seed(0)
    block = UnitNetwork(unit, 64).units[1].eval()
    for module in block.branch.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    x = torch.rand(1, 16, 6, 6)
    assert torch.equal(block(x), torch.zeros_like(x) if unit == "vgg" else x)


def test_detectors_get_strides_4_to_32() -> None:
    with torch.device("meta"):
        taps = ShuffleNet().features(torch.empty(1, 3, 64, 96))
    assert {name: tuple(tap.shape[1:]) for name, tap in taps.items()} == {
        "stage1": (24, 16, 24), "stage2": (240, 8, 12), "stage3": (480, 4, 6), "stage4": (960, 2, 3),
    }  # fmt: skip
