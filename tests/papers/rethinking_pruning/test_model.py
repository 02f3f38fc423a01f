"""The networks of Rethinking the Value of Network Pruning against the numbers that it and its sources print."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import nn

from papers.rethinking_pruning import DEFAULTS, MODELS
from papers.rethinking_pruning.model import REGRESSION_2X, RULES
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import CifarResNet
from shared.layers.select import ChannelSelect
from shared.measure import Count, count
from tests.shared.compression.networks import widths_of


@functools.cache
def built(model: str, **args: Any) -> nn.Module:
    with torch.device("meta"):
        return MODELS[model](**args)


@functools.cache
def counted(model: str, **args: Any) -> Count:
    return count(built(model, **args), DEFAULTS[model][0])


@pytest.mark.parametrize(("model", "params", "macs"), [
    ("vgg16", 14987722, 313463808), ("vgg16_a", 5397034, 206279680),
    ("resnet56", 853018, 125485696), ("resnet56_a", 773336, 112435840), ("resnet56_b", 735712, 90907264),
    ("resnet110", 1727962, 252887680), ("resnet110_a", 1688522, 212779648), ("resnet110_b", 1168424, 155124352),
    ("resnet34", 21797672, 3663761408), ("resnet34_a", 20151764, 3100184576), ("resnet34_b", 19469372, 2782269440),
    ("preact_resnet110", 1146842, 167430656), ("densenet40", 1059298, 282917328),
    ("densenet_bc100", 769162, 287929692),
    ("vgg_conv", 131452552, 4791205888), ("vgg_gap", 8322696, 4668084224), ("vgg_tiny", 1325368, 1004578816),
    ("vgg_5x", 130879294, 3515283520),
    ("thinet30", 8665318, 1166283835), ("thinet50", 12381864, 1822031872), ("thinet70", 16945246, 2601392356),
    ("sss_resnet41", 25358120, 3472621568), ("sss_resnet32", 14268968, 2817523712),
    ("sss_resnet26", 14919464, 2278031360),
])  # fmt: skip
def test_counts(model: str, params: int, macs: int) -> None:
    found = counted(model)
    assert (found.params, found.macs) == (params, macs)


@pytest.mark.parametrize(("model", "params", "macs"), [
    ("resnet56_a", "0.77", 112), ("resnet56_b", "0.73", 91), ("resnet110_a", "1.68", 213), ("resnet110_b", "1.16", 155),
    ("vgg16_a", "5.39", 206), ("thinet30", "8.66", None), ("thinet50", "12.38", None), ("thinet70", "16.94", None),
    ("sss_resnet41", "25.3", 3473),
])  # fmt: skip
def test_printed_sizes_are_ours_with_the_further_digits_cut_off(model: str, params: str, macs: int | None) -> None:
    """Only VGG-16-A is printed rounded up, as 5.40 M; the FLOPs of ThiNet are those of another place of the stride."""
    found = counted(model)
    assert f"{found.params / 1e6:.6f}".startswith(params)
    assert macs is None or round(found.macs / 1e6) == macs


@pytest.mark.parametrize(("big", "pruned", "epochs", "printed"), [
    ("vgg16", "vgg16_a", 160, 243),
    ("resnet56", "resnet56_a", 160, 178), ("resnet56", "resnet56_b", 160, 220),
    ("resnet110", "resnet110_a", 160, 190), ("resnet110", "resnet110_b", 160, 260),
    ("resnet34", "resnet34_a", 90, 106), ("resnet34", "resnet34_b", 90, 118), ("resnet50", "thinet70", 90, 141),
    ("resnet50", "sss_resnet41", 100, 117), ("resnet50", "sss_resnet32", 100, 145),
    ("resnet50", "sss_resnet26", 100, 179),
])  # fmt: skip
def test_the_epochs_of_scratch_b_follow_from_our_macs(big: str, pruned: str, epochs: int, printed: int) -> None:
    assert int(epochs * counted(big).macs / counted(pruned).macs) == printed


def test_vgg_conv_is_printed_without_its_biases() -> None:
    weights = sum(tensor.numel() for name, tensor in built("vgg_conv").named_parameters() if name.endswith("weight"))
    assert round(weights / 1e6, 2) == 131.44


def test_resnet34_is_printed_without_its_shortcuts() -> None:
    """Li et al. count stem, residual branches and classifier; their 19.9 M is 19.98 M with digits cut off."""
    shortcuts = [tensor for name, tensor in built("resnet34").named_parameters() if "shortcut" in name]
    params = sum(tensor.numel() for tensor in shortcuts)
    macs = sum(64 * 4**stage * 2 * 64 * (28 // 2**stage) ** 2 for stage in range(3))
    for model, printed_params, printed_macs in (("resnet34_a", 19.9, 3.08), ("resnet34_b", 19.3, 2.76)):
        found = counted(model)
        assert (found.params - params) / 1e6 == pytest.approx(printed_params, abs=0.08)
        assert round((found.macs - macs) / 1e9, 2) == printed_macs


@pytest.mark.parametrize(("blocks", "params", "macs"), [("0-1-6f-1f", "15.6", 2329), ("0-4f-4f-2f", "18.6", 2818)])
def test_printed_sizes_of_sparse_structures_are_those_of_other_blocks(blocks: str, params: str, macs: int) -> None:
    """ResNet-26 and ResNet-32 as the table counts them; the README's own blocks make the epochs that it states."""
    found = counted("sss_resnet26", blocks=blocks)
    assert f"{found.params / 1e6:.6f}".startswith(params) and round(found.macs / 1e6) == macs


@pytest.mark.parametrize("rule", RULES)
def test_only_the_second_fourth_and_so_on_of_the_convolutions_lose_filters(rule: str) -> None:
    """The convolutions of the network in order, shortcuts left out, against the rule itself."""
    full = built(rule.rpartition("_")[0])
    pruned = built(rule)
    assert isinstance(full, ResNet | CifarResNet)

    def convolutions(network: nn.Module) -> list[int]:
        return [
            layer.out_channels
            for name, layer in network.named_modules()
            if isinstance(layer, nn.Conv2d) and "shortcut" not in name
        ]

    starts = {channels: place for place, channels in enumerate(dict.fromkeys(convolutions(full)))}
    for number, (before, after) in enumerate(zip(convolutions(full), convolutions(pruned), strict=True), 1):
        goes = number % 2 == 0 and number not in RULES[rule].skip
        assert after == (int(before * (1 - RULES[rule].ratios[starts[before]])) if goes else before), number


def test_vgg16_a_has_the_widths_of_the_released_code() -> None:
    assert widths_of(built("vgg16_a")) == "32-64-128-128-256-256-256-256-256-256-256-256-256"
    assert widths_of(built("vgg16_a", width=0.25)) == "8-16-32-32-64-64-64-64-64-64-64-64-64"


def test_networks_of_unstructured_pruning_start_with_scales_of_one() -> None:
    for name in ("preact_resnet110", "densenet_bc100", "resnet56"):
        norms = [layer for layer in MODELS[name](width=0.25).modules() if isinstance(layer, nn.BatchNorm2d)]
        assert all((norm.weight == 1).all() for norm in norms)
    assert all(
        (layer.weight == 0.5).all() for layer in MODELS["vgg16"]().modules() if isinstance(layer, nn.BatchNorm2d)
    )


@pytest.mark.parametrize("blocks", ["0-2-5", "0-2-5-1-1", "0-5-5-1f", "0-0f-5-1", "4f-0-0-0", "x-0-0-0", "-1-0-0-0"])
def test_blocks_that_resnet50_does_not_have_are_refused(blocks: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="stage"):
        MODELS["sss_resnet26"](blocks=blocks)


def test_all_blocks_make_resnet50() -> None:
    torch.manual_seed(0)
    whole = MODELS["sss_resnet26"](blocks="3f-4f-6f-3f", classes=3).eval()
    torch.manual_seed(0)
    plain = ResNet(50, classes=3).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(whole(images), plain(images))


def test_a_branch_of_resnet_2x_reads_what_is_selected_and_the_shortcut_reads_all() -> None:
    network: Any = MODELS["resnet50_2x"](classes=3).eval()
    found = [(len(layer.index), layer.channels) for layer in network.modules() if isinstance(layer, ChannelSelect)]
    assert [kept for kept, _ in found] == [kept for kept, _, _ in REGRESSION_2X]
    assert [channels for _, channels in found[:5]] == [64, 256, 256, 256, 512]
    branch, shortcut = network.stages[1][0].body, network.stages[1][0].shortcut
    x = torch.randn(1, 256, 8, 8)
    other = x.clone()
    other[:, 144:] += 1
    with torch.inference_mode():
        assert torch.equal(branch(x), branch(other)) and not torch.allclose(shortcut(x), shortcut(other))
        other[:, 143] += 1
        assert not torch.allclose(branch(x), branch(other))


@pytest.mark.parametrize("name", [name for name, (shape, _) in DEFAULTS.items() if shape == (3, 32, 32)])
def test_every_parameter_of_a_small_network_takes_part(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name](classes=3, width=0.25)
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), label
        assert parameter.grad.any() or "bias" in label, label  # one in front of a norm is taken away by it
