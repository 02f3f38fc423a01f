"""The evidence that claims.yaml names for its explanations."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from papers.res2net import MODELS
from shared.ledger import Entry
from shared.ledger.counts import count_model
from shared.ledger.judge import judge
from shared.ledger.printed import parse_printed
from shared.measure.conventions import operations

IMAGENET = (3, 224, 224)


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge("res2net")}


def test_no_tool_counts_resnet50_as_printed(entries: dict[str, Entry]) -> None:
    with torch.device("meta"):
        network = MODELS["resnet50"]()
    says = parse_printed(entries["t3.resnet50.macs"].says)
    found = [count_model("res2net", "resnet50", {}).macs]
    found += [operations(network, IMAGENET, tool) for tool in ("thop", "mmdetection")]
    assert [round(value / 1e9, 2) for value in found] == [4.09, 4.14, 4.12]
    assert not any(says.is_print_of(value) for value in found)


def test_table_4_counts_ten_outputs_and_grouped_entries(entries: dict[str, Entry]) -> None:
    """Of the first blocks and the numbers of outputs that there are, one pair gives the three prints."""
    rows: dict[str, dict[str, Any]] = {
        "6c24w4s": {},
        "8c25w4s": {"cardinality": 8, "width": 25},
        "6c24w6s": {"scale": 6},
    }
    fitting = []
    for first, classes in itertools.product(("pool", "group", "text"), (10, 100)):
        counted = {row: count_model("res2net", "res2next29", args | {"first": first}, None, classes).params
                   for row, args in rows.items()}  # fmt: skip
        if all(parse_printed(entries[f"t4.{row}.params"].says).is_print_of(value) for row, value in counted.items()):
            fitting.append((first, classes))
    assert fitting == [("group", 10)]


def test_no_one_module_adds_what_table_4_says_of_se(entries: dict[str, Entry]) -> None:
    added, printed = set(), []
    for plain, excited in (("resnext29-8c64w", "resnext29-se"), ("6c24w4s", "6c24w4s-se"), ("8c25w4s", "8c25w4s-se"),
                           ("6c24w6s", "6c24w6s-se")):  # fmt: skip
        says = [parse_printed(entries[f"t4.{row}.params"].says).value for row in (plain, excited)]
        printed.append(round(float(says[1] - says[0]) / 1e6, 1))
    for model, args in (("resnext29", {}), ("res2next29", {}), ("res2next29", {"cardinality": 8, "width": 25}),
                        ("res2next29", {"scale": 6})):  # fmt: skip
        sizes = [count_model("res2net", model, {**args, "se": se}, None, 10).params for se in (False, True)]
        added.add(sizes[1] - sizes[0])
    assert printed == [0.7, 1.7, 0.2, 0.2] and added == {521_808}


def test_the_projections_that_nothing_reads_explain_dla(entries: dict[str, Entry]) -> None:
    """One for each tree of trees: 128 to 256 channels at 28 x 28 pixels, and twice 256 to 512 at 14 x 14."""
    sizes = [(128, 256, 28), (256, 512, 14), (256, 512, 14)]
    params = sum(inputs * outputs + 2 * outputs for inputs, outputs, _ in sizes)
    macs = sum(inputs * outputs * side * side for inputs, outputs, side in sizes)
    agree = {}
    for row, model in (("res2net-dla60", "res2net_dla60"), ("res2next-dla60", "res2next_dla60")):
        found = count_model("res2net", model, {})
        for quantity, more in (("params", params), ("macs", macs)):
            says = parse_printed(entries[f"release.{row}.{quantity}"].says)
            agree[row, quantity] = says.is_print_of(getattr(found, quantity) + more)
    assert [key for key, agrees in agree.items() if not agrees] == [("res2next-dla60", "macs")]


def test_every_row_of_the_paper_is_there(entries: dict[str, Entry]) -> None:
    rows: dict[str, set[str]] = {}
    for entry in entries.values():
        if entry.quantity != "ordering":
            for place in entry.places:
                rows.setdefault(place, set()).add(entry.row.removesuffix(", top-5").removesuffix(", outlines"))
    expected = {"Table 1": 17, "Table 2": 3, "Table 4": 11, "Table 5": 5, "Table 7": 7, "Table 8": 6, "Table 9": 8,
                "Table 10": 6}  # fmt: skip
    assert {place: len(rows[place]) for place in expected} == expected
    assert {entry.row for entry in entries.values() if entry.id.startswith("t3.") and entry.quantity == "macs"} == {
        "ResNet-50, 64w", "Res2Net-50, 48w x 2s", "Res2Net-50, 26w x 4s", "Res2Net-50, 14w x 8s",
        "Res2Net-50, 26w x 6s", "Res2Net-50, 26w x 8s", "Res2Net-50-L, 18w x 4s",
    }  # fmt: skip


def test_what_deviates_is_what_the_explanations_say(entries: dict[str, Entry]) -> None:
    assert {entry.id for entry in entries.values() if entry.verdict == "deviates"} == {
        "t3.resnet50.macs", "t3.26w4s.macs", "t4.resnext29-16c64w.params", "t4.resnext29-se.params",
        "t4.6c24w4s-se.params", "t4.8c25w4s-se.params", "t4.6c24w6s-se.params", "release.res2net-dla60.params",
        "release.res2net-dla60.macs", "release.res2next-dla60.params", "release.res2next-dla60.macs",
        "release.res2net200.params",
    }  # fmt: skip


def test_the_text_on_key_points_disagrees_with_table_10(entries: dict[str, Entry]) -> None:
    for depth, gain in ((50, 1.1), (101, 0.8)):
        says = [float(entries[f"t10.{kind}-{depth}.ap"].says) for kind in ("resnet", "res2net")]
        assert round(says[1] - says[0], 1) == gain < float(entries[f"section-4.10.text.res2net{depth}.ap"].says)
