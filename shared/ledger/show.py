"""The ledger on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from shared.ledger.entry import VERDICTS, Entry, Verdict

# A mark besides the colour, for those who cannot tell red from green.
MARKS: dict[Verdict, str] = {
    "exact": "✓",
    "within": "✓",
    "consistent": "✓",
    "reproduced": "✓",
    "supported": "✓",
    "inconclusive": "?",
    "deviates": "✗",
    "not reproduced": "✗",
    "contradicted": "✗",
    "not attempted": "·",
}
COLOURS = {"✓": "green", "?": "yellow", "✗": "red", "·": "dim"}


def show(entries: Sequence[Entry], *, tested_only: bool = False) -> None:
    """Print the claims, one a line (with `tested_only` those that were attempted), and count the verdicts of all."""
    table = Table(box=None, pad_edge=False)
    for head in ("where", "claim", "quantity", "paper", "ours", "verdict"):
        table.add_column(head, justify="right" if head == "paper" else "left", overflow="fold")
    for entry in entries:
        if entry.verdict != "not attempted" or not tested_only:
            verdict = _coloured(entry.verdict, f"{MARKS[entry.verdict]} {entry.verdict}")
            row = f"{entry.row} ({entry.protocol})" if entry.protocol else entry.row
            ours = (entry.ours or "").replace("[", r"\[")
            table.add_row(entry.where, row, entry.quantity, entry.says, ours, verdict)
    Console().print(table, "")
    tally(entries)


def tally(entries: Sequence[Entry]) -> None:
    """Print how many claims have which verdict."""
    counts = Counter(entry.verdict for entry in entries)
    line = ", ".join(_coloured(verdict, f"{counts[verdict]} {verdict}") for verdict in VERDICTS if counts[verdict])
    Console().print(f"{len(entries)} claims: {line}")


def _coloured(verdict: Verdict, text: str) -> str:
    return f"[{COLOURS[MARKS[verdict]]}]{text}[/]"
