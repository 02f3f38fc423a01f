from __future__ import annotations

import dataclasses
import re

import pytest

from shared.ledger import VERDICTS, Entry
from shared.ledger.entry import Verdict
from shared.ledger.tables import (
    LONGEST,
    MARKS,
    exhibit,
    footnotes,
    in_order,
    legend,
    markdown_table,
    overview,
    printed,
    reasons,
    shorten,
    untried,
    verdict_line,
)

TRAIN = "papertrail train ghostnet cifar vgg16"
NEEDS = {"cifar": "one GPU, some hours"}


def entry(
    row: str, quantity: str, says: str, ours: str | None, verdict: Verdict, reason: str = "", command: str = ""
) -> Entry:
    return Entry(
        paper="ghostnet",
        id="a",
        where="Table 10, Table 9" if row == "VGG-16" else "Section 3",
        row=row,
        quantity=quantity,
        says=says,
        ours=ours,
        check="run" if quantity == "ordering" else "count",
        protocol="cifar" if command else "small" if quantity == "ordering" else None,
        verdict=verdict,
        confidence="read",
        reason=reason,
        command=command,
        evidence="",
    )


ENTRIES = [
    entry("VGG-16", "params", "15.0M", "14.98M", "exact"),
    entry("VGG-16", "top1", "93.6", None, "not attempted", "Needs a GPU.", TRAIN),
    entry("Ghost|VGG", "params", "7.7M", "7.49M", "deviates", "An extra layer."),
    entry("Ghost|VGG", "top1", "93.7", None, "not attempted", "Needs a GPU.", TRAIN),
    entry("Ghost|VGG", "ordering", "better", "0.3", "supported", "Criterion: no worse."),
]


def cells(table: str) -> list[list[str]]:
    """The cells of a Markdown table's body, without colours."""
    lines = [line for line in table.splitlines() if line.startswith("|")][2:]
    return [[re.sub("<[^>]+>", "", cell).strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("coloured", [True, False])
def test_a_table_stands_as_printed_with_ours_beside_what_we_have(coloured: bool) -> None:
    notes = footnotes(ENTRIES)
    table = printed(ENTRIES[:4], notes, coloured=coloured)
    assert table.splitlines()[0] == "| network | parameters | ours | top-1, % |"  # no column for what nobody tried
    assert cells(table) == [["VGG-16", "15.0M", "14.98M ✓", "93.6"], [r"Ghost\|VGG", "7.7M", "7.49M ≠ [1]", "93.7"]]
    assert ("<span" in table) == coloured


def test_columns_keep_the_papers_order_where_the_first_row_lacks_some() -> None:
    rows = [
        entry("CP", "macs", "63M", "63M", "exact"),
        entry("CP", "top1", "92.0", None, "not attempted"),
        entry("L1", "params", "0.7M", None, "not attempted"),
        entry("L1", "macs", "91M", "91M", "exact"),
    ]
    table = printed(rows, {}, coloured=False)
    assert table.splitlines()[0] == "| network | parameters | MACs | ours | top-1, % |"
    assert cells(table) == [["CP", "", "63M", "63M ✓", "92.0"], ["L1", "0.7M", "91M", "91M ✓", ""]]


def test_a_recalled_number_is_never_shown_as_read() -> None:
    one = dataclasses.replace(ENTRIES[0], confidence="recalled")
    assert "Printed numbers are recalled where nothing else is said." in printed([one], {}, coloured=False)
    assert cells(printed([one, *ENTRIES[1:3]], {}, coloured=False))[0][1] == "15.0M (recalled)"
    mixed = printed([one, dataclasses.replace(one, row="other"), ENTRIES[2]], {}, coloured=False)
    assert cells(mixed)[2][1] == "7.7M (read)" and "are recalled" in mixed
    ordering = dataclasses.replace(ENTRIES[4], confidence="recalled")
    assert "better (recalled)" in exhibit([ordering], {}, brief=True)


def test_what_stands_behind_the_last_comma_of_several_rows_is_a_column() -> None:
    ways = [
        dataclasses.replace(ENTRIES[1], row=f"{network}, {way}") for network in "AB" for way in ("tuned", "scratch")
    ]
    sizes = [dataclasses.replace(ENTRIES[0], row=network) for network in "AB"]
    table = printed([*sizes, *ways], {}, coloured=False)
    assert table.splitlines()[0] == "| network | parameters | ours | tuned: top-1, % | scratch: top-1, % |"
    assert [row[0] for row in cells(table)] == ["A", "B"]
    # What has numbers of several kinds is a row of its own.
    baselines = [dataclasses.replace(one, row=f"{network}, baseline") for network in "AB" for one in ENTRIES[:2]]
    assert [row[0] for row in cells(printed(baselines, {}, coloured=False))] == ["A, baseline", "B, baseline"]


def test_a_print_with_its_deviation_is_a_cell_and_a_sentence_is_not() -> None:
    spread = dataclasses.replace(ENTRIES[1], quantity="outputs", row="A: top-1, %", says="93.41±0.12")
    text = exhibit([spread, dataclasses.replace(spread, says="equal outputs", verdict="within")], {}, brief=True)
    assert "| network | top-1, % |" in text and "| equal outputs |" in text and "93.41±0.12" in text


def test_a_number_that_is_printed_twice_loses_neither_verdict() -> None:
    twice = [ENTRIES[0], entry("VGG-16", "params", "15M", "14.7M", "within"), ENTRIES[1]]
    assert cells(printed(twice, {}, coloured=False)) == [
        ["VGG-16", "15.0M", "14.98M ✓", "93.6"],
        ["VGG-16", "15M", "14.7M ≡", ""],
    ]


def test_equal_reasons_are_one_footnote() -> None:
    other = dataclasses.replace(ENTRIES[2], row="other")
    text = exhibit([*ENTRIES[:3], other], NEEDS, brief=True)
    assert text.count("An extra layer.") == 1 and text.count("[1]") == 2


def test_a_notebook_cuts_long_reasons_and_the_ledger_does_not() -> None:
    long = dataclasses.replace(ENTRIES[2], reason=f"{'First. ' * 45}Last sentence.")
    brief, whole = (exhibit([long], {}, brief=brief) for brief in (True, False))
    assert "Last sentence." in whole and "Last sentence." not in brief
    assert max(len(line) for line in brief.splitlines() if line.startswith("1. ")) <= LONGEST + len("1. ")
    assert shorten("One. Two.") == "One. Two."
    assert len(shorten("word " * 100)) <= LONGEST


def test_what_was_not_attempted_is_one_line_with_one_command() -> None:
    line = untried(ENTRIES, NEEDS)
    assert "Not attempted: 2 of 5 claims; `papertrail train ghostnet cifar --all` (one GPU, some hours) would" in line
    assert "\n" not in line and untried(ENTRIES[:1], NEEDS) == ""
    hopeless = [dataclasses.replace(ENTRIES[1], command="", protocol=None)]
    assert "`" not in untried(hopeless, NEEDS) and "ledger.md" in untried(hopeless, NEEDS)


def test_the_ledger_says_once_why_claims_were_not_attempted() -> None:
    assert reasons(ENTRIES, NEEDS) == [
        "- ○ 2 not attempted: Needs a GPU. To try: `papertrail train ghostnet cifar --all` (one GPU, some hours)."
    ]


def test_an_ordering_that_was_not_run_stands_in_the_ledger_alone() -> None:
    missing = entry("Ghost|VGG", "ordering", "worse", None, "not attempted", "No run.", TRAIN)
    assert "worse" in exhibit([missing], {}, brief=False) and "worse" not in exhibit([missing], {}, brief=True)


def test_prose_is_set_left_and_numbers_right_whatever_their_colour() -> None:
    number = f'<span style="color:#123456">{1}</span>'
    assert markdown_table(["a", "b", "c"], [["x", number, "word " * 10]]).splitlines()[1] == "| :-- | --: | :-- |"


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert markdown_table(["a", "b"], [["x|y", 1]]).splitlines()[2] == r"| x\|y | 1 |"


def test_places_are_ordered_by_kind_and_number() -> None:
    places = ["TensorFlow release", "Section 3.1", "Figure 6", "Table 10", "Table 9", "Section 3"]
    assert in_order(places) == ["Table 9", "Table 10", "Figure 6", "Section 3", "Section 3.1", "TensorFlow release"]


def test_the_verdict_line_counts_in_a_fixed_order() -> None:
    assert verdict_line(ENTRIES) == "**Verdict:** 1 exact, 1 supported, 1 deviates, 2 not attempted."
    assert verdict_line([]) == "**Verdict:** none; the paper prints no number here."


def test_every_verdict_has_a_mark_of_its_own_and_the_legend_names_those_that_occur() -> None:
    assert set(VERDICTS) <= set(MARKS)
    assert len({mark for mark, _ in MARKS.values()}) == len(MARKS)
    assert legend(ENTRIES) == "Marks: ✓ exact, ▲ supported, ≠ deviates, ○ not attempted."


def test_the_overview_counts_verdicts_by_place() -> None:
    assert overview(ENTRIES).splitlines() == [
        "| where | exact | supported | deviates | not attempted |",
        "| :-- | --: | --: | --: | --: |",
        "| Table 9 | 1 |  |  | 1 |",
        "| Table 10 | 1 |  |  | 1 |",
        "| Section 3 |  | 1 | 1 | 1 |",
    ]
