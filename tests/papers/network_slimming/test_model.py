"""The networks of Network Slimming against what the paper and its released code say of them."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from torch import nn

from papers.network_slimming import DEFAULTS, MODELS
from papers.network_slimming.model import initialise
from shared.layers.widths import prunable_norms
from shared.measure import Count, count

# Widths of VGG-19 after the fourth of five prunings (supplement, table 5: "iter 5 trained").
FIFTH_PASS = "22-62-83-119-193-168-85-40-32-32-32-32-32-32-32-38"


@functools.cache
def counted(model: str, **args: Any) -> Count:
    with torch.device("meta"):
        return count(MODELS[model](**args), DEFAULTS[model][0])


@pytest.mark.parametrize(("model", "args", "params", "macs"), [
    ("vgg19", {}, 20035018, 398136320),
    ("vgg19", {"classes": 100}, 20081188, 398182400),
    ("preact_resnet164", {}, 1703258, 247646720),
    ("preact_resnet164", {"classes": 100}, 1726388, 247669760),
    ("densenet40", {}, 1019722, 264812928),
    ("densenet40", {"stem": 24}, 1059298, 282917328),
    ("densenet40", {"classes": 100}, 1060132, 264853248),
    ("vgg_a", {}, 132882472, 7609090048),
    ("mlp_mnist", {}, 547410, 545000),
])  # fmt: skip
def test_counts(model: str, args: dict[str, Any], params: int, macs: int) -> None:
    found = counted(model, **args)
    assert (found.params, found.macs) == (params, macs)


def test_widths_that_the_supplement_prints_give_the_savings_of_table_4() -> None:
    """95.6 % of the parameters and 77.2 % of the FLOPs are gone after iteration 4; iteration 5 trains what is left."""
    full, slim = counted("vgg19"), counted("vgg19", widths=FIFTH_PASS)
    assert round(100 * (1 - slim.params / full.params), 1) == 95.6
    assert round(100 * (1 - slim.macs / full.macs), 1) == 77.2


def test_the_slim_perceptron_saves_what_table_3_says() -> None:
    full, slim = counted("mlp_mnist"), counted("mlp_mnist", widths="100-60")
    assert round(100 * (1 - slim.params / full.params), 1) == 84.4


def test_vgg_a_has_the_channels_and_units_that_are_pruned_from() -> None:
    with torch.device("meta"):
        norms = list(prunable_norms(MODELS["vgg_a"]()).values())
    assert sum(norm.num_features for norm in norms if isinstance(norm, nn.BatchNorm2d)) == 2752
    assert sum(norm.num_features for norm in norms if isinstance(norm, nn.BatchNorm1d)) == 8192


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"resnet20"}))
def test_every_norm_can_lose_channels(name: str) -> None:
    with torch.device("meta"):
        network = MODELS[name]()
    norms = [label for label, layer in network.named_modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert list(prunable_norms(network)) == norms


def test_resnet20_can_lose_channels_inside_its_blocks_alone() -> None:
    """Its shortcuts add what the stem and the ends of all blocks give: those channels are tied."""
    with torch.device("meta"):
        network = MODELS["resnet20"]()
    assert list(prunable_norms(network)) == [f"blocks.{block}.conv1.1" for block in range(9)]


@pytest.mark.parametrize("name", ["vgg19", "densenet22", "preact_resnet20", "mlp_mnist"])
def test_weights_start_as_the_paper_has_them(name: str) -> None:
    torch.manual_seed(0)
    for layer in MODELS[name]().modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert (layer.weight == 0.5).all() and not layer.bias.any()
        elif isinstance(layer, nn.Conv2d):
            expected = math.sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels))
            assert layer.weight.std().item() == pytest.approx(expected, rel=5 / math.sqrt(layer.weight.numel()))
        elif isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.01, rel=5 / math.sqrt(layer.weight.numel()))
            assert not layer.bias.any()


def test_the_scales_can_start_elsewhere() -> None:
    conv, norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    initialise(nn.Sequential(conv, norm), scale=1.0)
    assert (norm.weight == 1).all() and conv.bias is not None and not conv.bias.any()


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_takes_part(name: str) -> None:
    torch.manual_seed(0)
    channels, height, width = DEFAULTS[name][0]
    model = MODELS[name](classes=3, width=0.0625 if name == "vgg_a" else 0.25)
    model(torch.randn(2, channels, min(height, 64), min(width, 64))).square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), label
        assert parameter.grad.any() or "bias" in label, label  # one in front of a norm is taken away by it


@pytest.mark.parametrize("name", ["vgg19", "preact_resnet20", "densenet22", "mlp_mnist"])
@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 28)])
def test_small_networks_see_digits_too(name: str, channels: int, size: int) -> None:
    model = MODELS[name](width=0.25, in_channels=channels).eval()
    assert model(torch.randn(2, channels, size, size)).shape == (2, 10)


def test_a_perceptron_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves no unit of 300"):
        MODELS["mlp_mnist"](width=0.001)
    with pytest.raises(ValueError, match="prunable layers"):
        MODELS["mlp_mnist"](widths="100")
