from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from shared.figures.tables import beside, markdown_table, reasons, verdict_line


def entry(row: str, quantity: str, says: str, ours: str | None, verdict: str, *why: str) -> Any:
    reason, command = (*why, "", "")[:2]
    return SimpleNamespace(
        row=row, quantity=quantity, says=says, ours=ours, verdict=verdict, reason=reason, command=command
    )


ENTRIES = [
    entry("VGG-16", "params", "15.0M", "14.98M", "exact"),
    entry("VGG-16", "top1", "93.6", None, "not attempted", "needs a GPU", "dvc repro x"),
    entry("Ghost|VGG", "params", "7.7M", "7.49M", "deviates", "an extra layer"),
    entry("Ghost|VGG", "top1", "93.7", None, "not attempted", "needs a GPU", "dvc repro x"),
    entry("Ghost|VGG", "ordering", "better", "0.3", "supported"),
]


def test_each_row_stands_once_beside_ours() -> None:
    lines = beside(ENTRIES).splitlines()
    assert lines[0] == "| network | parameters: paper | parameters: ours | top-1, %: paper | top-1, %: ours |"
    assert lines[2] == "| VGG-16 | 15.0M | 14.98M (exact) | 93.6 | not attempted |"
    assert lines[3] == r"| Ghost\|VGG | 7.7M | **7.49M (deviates)** | 93.7 | not attempted |"
    assert len(lines) == 4


def test_a_missing_quantity_leaves_its_cells_empty() -> None:
    assert beside([ENTRIES[0], ENTRIES[3]]).splitlines()[2] == "| VGG-16 | 15.0M | 14.98M (exact) |  |  |"


def test_the_verdict_line_counts_in_a_fixed_order() -> None:
    assert verdict_line(ENTRIES) == "**Verdict:** 1 exact, 1 supported, 1 deviates, 2 not attempted."
    assert verdict_line([]) == "**Verdict:** no claim stands here."


def test_equal_reasons_are_told_once() -> None:
    assert reasons(ENTRIES).splitlines() == [
        "- *not attempted*, VGG-16 (top-1), Ghost|VGG (top-1): needs a GPU To try: `dvc repro x`",
        "- *deviates*, Ghost|VGG (parameters): an extra layer",
    ]


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    assert markdown_table(["a", "b"], [["x|y", 1]]).splitlines()[2] == r"| x\|y | 1 |"
