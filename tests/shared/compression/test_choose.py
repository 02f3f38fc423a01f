from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from shared.compression.choose import global_threshold, per_layer
from shared.errors import PapertrailError, UsageError


def scores(**layers: list[float]) -> dict[str, Tensor]:
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in layers.items()}


def kept(choice) -> dict[str, list[int]]:  # type: ignore[no-untyped-def]
    return {name: mask.nonzero().flatten().tolist() for name, mask in choice.keep.items()}


def test_the_channel_at_the_threshold_goes_too() -> None:
    choice = global_threshold(scores(a=[0.1, 0.5, 0.3], b=[0.2, 0.4]), 0.4)
    assert kept(choice) == {"a": [1], "b": [1]}  # int(5 * 0.4) = 2: the third smallest is 0.3
    assert choice.floors == ()


def test_equals_of_the_threshold_go_with_it() -> None:
    assert kept(global_threshold(scores(a=[1, 1, 2], b=[1, 3]), 0.2)) == {"a": [2], "b": [1]}


def test_the_floor_keeps_the_most_important_channel_and_is_recorded() -> None:
    choice = global_threshold(scores(a=[0.1, 0.3, 0.2], b=[5, 6], c=[0.05, 0.05]), 0.75)
    assert kept(choice) == {"a": [1], "b": [1], "c": [0]}
    assert choice.floors == ("a", "c")
    assert per_layer(scores(a=[1, 3, 2], b=list(range(10))), 0.9).floors == ("a",)


def test_a_ratio_of_0_keeps_everything_also_the_smallest() -> None:
    every = {"a": [0, 1, 2], "b": [0]}
    some = scores(a=[1, 1, 1], b=[1])
    assert kept(global_threshold(some, 0)) == kept(per_layer(some, 0)) == every


@given(
    layers=st.lists(st.lists(st.floats(0, 10), min_size=1, max_size=6), min_size=1, max_size=5),
    ratio=st.floats(0, 1, exclude_max=True),
)
def test_a_global_choice_is_the_plain_loop(layers: list[list[float]], ratio: float) -> None:
    choice = global_threshold(scores(**{f"n{place}": layer for place, layer in enumerate(layers)}), ratio)
    every = sorted(value for layer in layers for value in layer)
    threshold = every[int(len(every) * ratio)]
    floors = []
    for place, layer in enumerate(layers):
        wanted = [i for i, value in enumerate(layer) if value > threshold or ratio == 0]
        if not wanted:
            wanted = [layer.index(max(layer))]
            floors.append(f"n{place}")
        assert kept(choice)[f"n{place}"] == wanted
    assert choice.floors == tuple(floors)


@given(layer=st.lists(st.floats(0, 10), min_size=1, max_size=12), percent=st.integers(0, 99))
def test_a_choice_by_layer_has_exactly_the_stated_count_of_the_largest(layer: list[float], percent: int) -> None:
    choice = per_layer(scores(a=layer), percent / 100)
    mask = choice.keep["a"].tolist()
    count = math.floor(len(layer) * (100 - percent) / 100)
    assert sum(mask) == max(1, count) and bool(choice.floors) == (count == 0)
    stay = [value for value, keep in zip(layer, mask, strict=True) if keep]
    gone = [value for value, keep in zip(layer, mask, strict=True) if not keep]
    assert not gone or min(stay) >= max(gone)


def test_ratios_by_name_and_glob() -> None:
    some = scores(**{"stage1.a": [1, 2, 3, 4], "stage1.b": [1, 2, 3, 4], "stage2.a": [4, 3, 2, 1]})
    choice = per_layer(some, {"stage1.*": 0.5, "stage1.b": 0.25})
    assert kept(choice) == {"stage1.a": [2, 3], "stage1.b": [1, 2, 3], "stage2.a": [0, 1, 2, 3]}
    with pytest.raises(UsageError, match=r"'stage3.\*' meets no prunable layer"):
        per_layer(some, {"stage3.*": 0.5})


@pytest.mark.parametrize("ratio", [-0.1, 1.0, math.nan])
def test_a_ratio_out_of_range_is_refused(ratio: float) -> None:
    for choose in (global_threshold, per_layer):
        with pytest.raises(UsageError, match=r"ratio: .* is not from 0 to below 1"):
            choose(scores(a=[1, 2]), ratio)


def test_a_network_without_prunable_layers_is_refused() -> None:
    for choose in (global_threshold, per_layer):
        with pytest.raises(PapertrailError, match="no layer of this network is prunable"):
            choose({}, 0.5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_importance_that_is_no_number_is_refused_by_layer(value: float) -> None:
    for choose in (global_threshold, per_layer):
        with pytest.raises(PapertrailError, match="b: the importance of a channel is not a finite number"):
            choose(scores(a=[1, 2], b=[value, 1]), 0.5)


@given(
    layers=st.lists(st.lists(st.floats(0, 10), min_size=1, max_size=8), min_size=1, max_size=4),
    ratio=st.floats(0, 1, exclude_max=True),
    percent=st.integers(0, 99),
)
def test_no_layer_loses_more_than_the_most_it_can_and_what_it_loses_counts_least(
    layers: list[list[float]], ratio: float, percent: int
) -> None:
    some = scores(**{f"n{place}": layer for place, layer in enumerate(layers)})
    free, capped = global_threshold(some, ratio), global_threshold(some, ratio, percent / 100)
    for name, layer in some.items():
        lost = int((~capped.keep[name]).sum())
        assert lost == min(int((~free.keep[name]).sum()), len(layer) * percent // 100)
        assert not lost or layer[~capped.keep[name]].max() <= layer[capped.keep[name]].min()


def test_half_of_the_channels_at_most_go_from_a_layer() -> None:
    some = scores(a=[1, 2, 3, 4], b=[9, 9, 9, 9])
    assert kept(global_threshold(some, 0.4)) == {"a": [3], "b": [0, 1, 2, 3]}
    assert kept(global_threshold(some, 0.4, 0.5)) == {"a": [2, 3], "b": [0, 1, 2, 3]}
