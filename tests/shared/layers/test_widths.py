from __future__ import annotations

import pytest
from torch import nn

from shared.errors import PapertrailError
from shared.layers.widths import parse_widths, prunable_norms
from tests.shared.compression.networks import NETWORKS, widths_of


def test_widths_are_read_and_the_empty_text_is_the_full_network() -> None:
    assert parse_widths("49-64-1", [64, 64, 128]) == [49, 64, 1]
    assert parse_widths("", [64, 128]) == [64, 128]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("49", "widths has 1 numbers, this network has 2 prunable layers"),
        ("1-2-3", "widths has 3 numbers"),
        ("0-1", "number 1 of widths is '0'; it is a whole number from 1 to 64"),
        ("1-129", "number 2 of widths is '129'; it is a whole number from 1 to 128"),
        ("1--2", "widths has 3 numbers"),
        ("1- 2", "number 2 of widths is ' 2'"),
        ("1-\N{SUPERSCRIPT TWO}", "number 2 of widths"),
        ("1-x", "number 2 of widths is 'x'"),
    ],
)
def test_widths_that_do_not_fit_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_widths(text, [64, 128])


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_widths_of_a_network_build_one_of_the_same_shape(kind: str) -> None:
    full = NETWORKS[kind]("")
    again = NETWORKS[kind](widths_of(full))
    assert [*map(str, prunable_norms(again))] == list(full.prunable)
    shapes = [{name: tensor.shape for name, tensor in network.state_dict().items()} for network in (full, again)]
    assert shapes[0] == shapes[1]


def test_what_cannot_be_pruned_is_refused_by_name() -> None:
    with pytest.raises(PapertrailError, match="Sequential has no tuple `prunable`"):
        widths_of(nn.Sequential())
    network = nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.Conv2d(3, 3, 1))
    for name in ("0", "1", "2"):
        network.prunable = (name,)  # type: ignore[assignment]
        with pytest.raises(PapertrailError, match=f"Sequential.prunable: '{name}' is no BatchNorm layer with a scale"):
            widths_of(network)
