from __future__ import annotations

import dataclasses

from shared.ledger import Entry
from shared.ledger.judge import Verdict
from shared.ledger.tables import beside, in_order, markdown_table, overview, reasons, section, verdict_line


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
        protocol="small" if quantity == "ordering" else None,
        verdict=verdict,
        confidence="read",
        reason=reason,
        command=command,
    )


ENTRIES = [
    entry("VGG-16", "params", "15.0M", "14.98M", "exact"),
    entry("VGG-16", "top1", "93.6", None, "not attempted", "needs a GPU.", "dvc repro x"),
    entry("Ghost|VGG", "params", "7.7M", "7.49M", "deviates", "an extra layer"),
    entry("Ghost|VGG", "top1", "93.7", None, "not attempted", "needs a GPU.", "dvc repro x"),
    entry("Ghost|VGG", "ordering", "better", "0.3", "supported", "Criterion: no worse."),
]


def test_each_row_stands_once_beside_ours() -> None:
    lines = beside(ENTRIES).splitlines()
    assert lines[0] == "| network | parameters: paper | parameters: ours | top-1, %: paper | top-1, %: ours |"
    assert lines[2] == "| VGG-16 | 15.0M | 14.98M (exact) | 93.6 | not attempted |"
    assert lines[3] == r"| Ghost\|VGG | 7.7M | **7.49M (deviates)** | 93.7 | not attempted |"
    assert len(lines) == 4


def test_a_missing_quantity_leaves_its_cells_empty() -> None:
    assert beside([ENTRIES[0], ENTRIES[3]]).splitlines()[2] == "| VGG-16 | 15.0M | 14.98M (exact) |  |  |"


def test_a_recalled_number_is_never_shown_as_read() -> None:
    recalled = [dataclasses.replace(one, confidence="recalled") for one in ENTRIES]
    assert "| VGG-16 | 15.0M (recalled) | 14.98M (exact) | 93.6 (recalled) | not attempted |" in beside(recalled)
    assert "| better (recalled) | 0.3 |" in section(recalled)


def test_a_number_that_is_printed_twice_loses_neither_verdict() -> None:
    twice = [ENTRIES[0], entry("VGG-16", "params", "15M", "14.7M", "within"), ENTRIES[1]]
    assert beside(twice).splitlines()[2:] == [
        "| VGG-16 | 15.0M | 14.98M (exact) | 93.6 | not attempted |",
        "| VGG-16 | 15M | 14.7M (within) |  |  |",
    ]


def test_commands_of_one_reason_stand_together() -> None:
    other = entry("Plain", "top1", "93", None, "not attempted", "needs a GPU.", "dvc repro y")
    assert reasons([ENTRIES[1], other]).endswith("needs a GPU. To try: `dvc repro x`, `dvc repro y`.")


def test_prose_is_set_left_and_numbers_right() -> None:
    assert markdown_table(["a", "b", "c"], [["x", "1", "word " * 10]]).splitlines()[1] == "| :-- | --: | :-- |"


def test_places_are_ordered_by_kind_and_number() -> None:
    places = ["TensorFlow release", "Section 3.1", "Figure 6", "Table 10", "Table 9", "Section 3"]
    assert in_order(places) == ["Table 9", "Table 10", "Figure 6", "Section 3", "Section 3.1", "TensorFlow release"]


def test_the_verdict_line_counts_in_a_fixed_order() -> None:
    assert verdict_line(ENTRIES) == "**Verdict:** 1 exact, 1 supported, 1 deviates, 2 not attempted."
    assert verdict_line([]) == "**Verdict:** none; the paper prints no number here."


def test_equal_reasons_are_told_once() -> None:
    assert reasons(ENTRIES).splitlines() == [
        "- *not attempted*, VGG-16 (top-1), Ghost|VGG (top-1): needs a GPU. To try: `dvc repro x`.",
        "- *deviates*, Ghost|VGG (parameters): an extra layer",
        "- *supported*, Ghost|VGG (ordering): Criterion: no worse.",
    ]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert markdown_table(["a", "b"], [["x|y", 1]]).splitlines()[2] == r"| x\|y | 1 |"


def test_the_overview_counts_verdicts_by_place() -> None:
    assert overview(ENTRIES).splitlines() == [
        "| where | exact | supported | deviates | not attempted |",
        "| :-- | --: | --: | --: | --: |",
        "| Table 9 | 1 |  |  | 1 |",
        "| Table 10 | 1 |  |  | 1 |",
        "| Section 3 |  | 1 | 1 | 1 |",
    ]


def test_a_section_shows_numbers_orderings_reasons_and_verdict() -> None:
    text = section(ENTRIES)
    assert text.count("| Ghost\\|VGG |") == 2
    assert "| Ghost\\|VGG | better | 0.3 | supported | run, small |" in text
    assert text.endswith(verdict_line(ENTRIES))
    assert section([]) == verdict_line([])
