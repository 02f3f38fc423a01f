"""What the claims of ShuffleNet rest on."""

from __future__ import annotations

import functools
import math
from decimal import Decimal

import pytest
import torch

from papers.shufflenet import MODELS
from papers.shufflenet.model import STAGE_2, ShuffleNet, stage_channels, stem_channels
from shared.ledger.entry import Entry
from shared.ledger.judge import judge
from shared.measure import count

IMAGENET = (3, 224, 224)


@functools.cache
def macs(name: str = "shufflenet", **args: object) -> float:
    """In millions."""
    with torch.device("meta"):
        return count(MODELS[name](**args), IMAGENET).macs / 1e6


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge("shufflenet")}


def test_table_1_leaves_the_classifier_out(entries: dict[str, Entry]) -> None:
    for groups, width in STAGE_2.items():
        without = macs(groups=groups) - 4 * width * 1000 / 1e6
        assert f"{without:.0f}M" == entries[f"t1.g{groups}.macs"].says
    with_it = [round(macs(groups=groups)) for groups in STAGE_2]
    assert with_it == [143, 141, 137, 134, 138]


def test_the_scaled_networks_lie_around_what_table_2_prints() -> None:
    """0.5x with 38 M, 0.25x with 13 M: as far as three millions off, in either direction."""
    half, quarter = ([round(macs(groups=g, scale=scale), 1) for g in STAGE_2] for scale in (0.5, 0.25))
    assert half == [38.5, 40.9, 37.6, 40.7, 40.5]
    assert quarter == [13.2, 12.6, 13.3, 12.3, 15.7]
    assert round(macs(groups=1, scale=0.5) - 0.288, 1) == 38.2
    assert stem_channels(8, 0.25) == 16
    assert [round(macs(groups=8, scale=0.25, stem=stem)) for stem in (8, 16, 24)] == [12, 16, 19]


def test_channels_of_table_4_at_38_and_13_m() -> None:
    """Section 4.2 prints 50, 192, 192, 288 and 576 channels in stage 4 at 38 M."""
    assert stage_channels(1, 0.5)[2] == 288 and stage_channels(4, 0.5)[2] == 576
    channels = {"vgg": 50, "resnet": 192, "resnext": 192}
    for unit, full in channels.items():
        assert round(macs("unit_network", unit=unit, channels=full, stem=12)) == 38
        if unit != "vgg":
            assert round(macs("unit_network", unit=unit, channels=full // 2, stem=12)) == 13
    doubled = [round(macs("unit_network", unit=unit, channels=2 * full, stem=24)) for unit, full in channels.items()]
    assert doubled == [145, 144, 157] and round(macs(groups=1)) == 143


def test_the_shallow_network_is_wider_by_the_root_of_two() -> None:
    half_deep = [len(stage) for stage in MODELS["shufflenet_shallow"]().stages]
    assert half_deep == [2, 4, 2] and 2 + 3 * sum(half_deep) == 26  # the layers that section 4.2 names
    wanted = STAGE_2[3] * 0.5 * math.sqrt(2)
    assert min(range(12, 400, 12), key=lambda width: abs(width - wanted)) == 168
    assert math.ceil(12 * math.sqrt(2) / 3) * 3 == 18
    assert round(macs(scale=0.5, repeats="2-4-2")) == 22  # half of the units alone is far from the printed 40 M
    assert round(macs("shufflenet_shallow"), 1) == 39.8


def test_squeeze_and_excitation_costs_what_is_printed() -> None:
    assert round(macs(scale=2.0)) == 524 and round(macs(scale=2.0, se=True)) == 527
    squeezed = [unit.se.reduce for stage in ShuffleNet(se=True).stages for unit in stage]
    assert {layer.in_channels // layer.out_channels for layer in squeezed} == {16}


def test_vgg_16_is_printed_without_its_linear_layers() -> None:
    linear = 25088 * 4096 + 4096 * 4096 + 4096 * 1000
    assert round(macs("vgg16") / 100) == 155 and round((macs("vgg16") - linear / 1e6) / 100) == 153


def test_differences_follow_from_the_printed_errors(entries: dict[str, Entry]) -> None:
    errors = {identity: Decimal(entry.says) for identity, entry in entries.items() if entry.quantity == "error"}
    rivals = {"t5.2x.g3": "1.0", "t5.2x.g3.se": "1.0", "t5.1.5x.g3": "0.75", "t5.1x.g8": "0.5", "t5.0.5x.g4": "0.25",
              "t5.shallow": "0.25"}  # fmt: skip
    differences = {identity.removesuffix(".gain"): value for identity, value in errors.items() if ".gain" in identity}
    assert len(differences) == 12
    for row, printed in differences.items():
        own = errors.get(f"{row}.error", errors.get(f"t2{row[2:]}.error"))
        other = errors[f"t5.mobilenet.{rivals[row]}.error"] if row in rivals else errors[f"{row}.plain"]
        assert own is not None and other - own == printed, row


def test_every_row_of_the_paper_is_there(entries: dict[str, Entry]) -> None:
    rows = {(place, entry.row.partition(", with")[0]) for entry in entries.values() for place in entry.places}
    numbers = {"Table 1": 5, "Table 2": 15, "Table 6": 7, "Official code": 8}
    for place, number in numbers.items():
        assert len({row.removesuffix(", top-5") for where, row in rows if where == place}) == number, place
    assert sum(entry.quantity == "latency_ms" for entry in entries.values()) == 15
    assert sum(entry.quantity == "ap" for entry in entries.values()) == 8
    assert sum(entry.quantity == "error" and "Table 4" in entry.places for entry in entries.values()) == 13


@pytest.mark.parametrize(
    ("claim", "verdict", "ours"),
    [
        ("t1.g1.macs", "exact", "143.08M"),
        ("t1.g3.macs", "exact", "137.46M"),
        ("t1.g8.macs", "deviates", "138.37M"),
        ("t4.resnet.38m.macs", "exact", "38.13M"),
        ("t4.resnext.38m.macs", "exact", "38.31M"),
        ("t5.2x.g3.se.macs", "exact", "526.93M"),
        ("t5.mobilenet.1.0.macs", "exact", "568.74M"),
    ],
)
def test_verdicts_that_the_text_speaks_of(claim: str, verdict: str, ours: str, entries: dict[str, Entry]) -> None:
    assert (entries[claim].verdict, entries[claim].ours) == (verdict, ours)
