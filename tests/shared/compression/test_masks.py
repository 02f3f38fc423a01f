from __future__ import annotations

import copy
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from shared.compression.masks import apply_masks, hold_zeros, live_cost, magnitude_masks
from shared.errors import PapertrailError, UsageError
from shared.measure import count

RATIOS = st.floats(0, 1, exclude_max=True)


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4, bias=False),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 2),
    )


def magnitudes(net: nn.Module, *names: str) -> list[float]:
    return sorted(abs(value) for name in names for value in net.get_parameter(name).flatten().tolist())


@given(seed=st.integers(0, 100), ratio=RATIOS, scope=st.sampled_from(["global", "layer"]))
def test_weights_above_the_threshold_stay(seed: int, ratio: float, scope: Literal["global", "layer"]) -> None:
    net = network(seed)
    masks = magnitude_masks(net, ratio, scope)
    assert list(masks) == ["0.weight", "3.weight"]
    for name, mask in masks.items():
        every = magnitudes(net, *(masks if scope == "global" else [name]))
        threshold = every[int(len(every) * ratio)]
        for keep, value in zip(mask.flatten().tolist(), net.get_parameter(name).flatten().tolist(), strict=True):
            assert keep == (ratio == 0 or abs(value) > threshold)


@given(ratio=RATIOS)
def test_masks_touch_nothing_but_convolution_weights(ratio: float) -> None:
    net = network()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    masks = magnitude_masks(net, ratio)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    apply_masks(net, masks)
    for name, tensor in net.state_dict().items():
        mask = masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        assert torch.equal(tensor, torch.where(mask, before[name], torch.zeros_like(tensor)))
    again = magnitude_masks(net, 0.0)
    assert all(bool(mask.all()) for mask in again.values())


def test_a_greater_ratio_takes_what_a_smaller_one_took_and_more() -> None:
    net = network()
    few, many = magnitude_masks(net, 0.3), magnitude_masks(net, 0.6)
    assert all(bool((few[name] | ~many[name]).all()) for name in few)
    kept = sum(int(mask.sum()) for mask in many.values())
    assert kept == 144 - int(144 * 0.6) - 1  # the weight at the threshold goes too


@pytest.mark.parametrize("ratio", [-0.1, 1.0, float("nan")])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(UsageError, match=r"ratio: .* is not from 0 to below 1"):
        magnitude_masks(network(), ratio)


def test_what_cannot_be_pruned_is_refused_by_name() -> None:
    with pytest.raises(PapertrailError, match="Linear has no convolution"):
        magnitude_masks(nn.Linear(2, 2), 0.5)
    net = network()
    with torch.no_grad():
        net.get_parameter("3.weight")[1] = float("nan")
    with pytest.raises(PapertrailError, match=r"3\.weight: a weight is not a finite number"):
        magnitude_masks(net, 0.5)
    for name, shape in (("6.weight", (2, 64)), ("0.weight", (4, 3))):
        with pytest.raises(PapertrailError, match=rf"{name}: no convolution has a weight of that name and shape"):
            apply_masks(net, {name: torch.ones(shape, dtype=torch.bool)})


def optimisers(net: nn.Module) -> list[torch.optim.Optimizer]:
    return [
        torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-2),
        torch.optim.AdamW(net.parameters(), 0.01),
        torch.optim.RMSprop(net.parameters(), 0.01, momentum=0.9, weight_decay=1e-2),
    ]


@pytest.mark.parametrize("which", range(3))
def test_zeros_stay_zeros_in_training_and_the_others_are_trained(which: int) -> None:
    net = network()
    masks = magnitude_masks(net, 0.5)
    apply_masks(net, masks)
    hold_zeros(net)
    before = copy.deepcopy(net)
    optimiser = optimisers(net)[which]
    for _ in range(3):
        optimiser.zero_grad()
        functional.cross_entropy(net(torch.randn(8, 3, 8, 8)), torch.arange(8) % 2).backward()
        optimiser.step()
    for name, mask in masks.items():
        assert torch.equal(net.get_parameter(name) != 0, mask)
        assert not torch.equal(net.get_parameter(name), before.get_parameter(name))
    assert not torch.equal(net.get_parameter("6.weight"), before.get_parameter("6.weight"))


@given(ratio=RATIOS)
def test_live_cost_counts_each_weight_at_each_place_of_the_output(ratio: float) -> None:
    net = network()
    masks = magnitude_masks(net, ratio)
    apply_masks(net, masks)
    first, second = (int(mask.sum()) for mask in masks.values())
    params = first + 4 + 2 * 4 + second + 64 * 2 + 2
    assert live_cost(net, (3, 8, 8)) == (params, 64 * first + 16 * second + 64 * 2)


def test_live_cost_without_zeros_is_the_count_also_where_weights_have_no_value() -> None:
    whole = count(network(), (3, 8, 8))
    assert live_cost(network(), (3, 8, 8)) == (whole.params, whole.macs)
    assert live_cost(network().to("meta"), (3, 8, 8)) == (whole.params, whole.macs)
