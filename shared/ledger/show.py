"""The ledger on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from shared.ledger.judge import Entry, Verdict

COLOURS: dict[Verdict, str] = {
    "exact": "green",
    "within": "green",
    "supported": "green",
    "inconclusive": "yellow",
    "deviates": "red",
    "contradicted": "red",
    "not attempted": "dim",
}


def show(entries: Sequence[Entry], *, tested_only: bool = False) -> None:
    """Print the claims, one a line (with `tested_only` those that were attempted), and count the verdicts of all."""
    table = Table(box=None, pad_edge=False)
    for head in ("where", "claim", "quantity", "paper", "ours", "verdict"):
        table.add_column(head, justify="right" if head == "paper" else "left", overflow="fold")
    for entry in entries:
        if entry.verdict != "not attempted" or not tested_only:
            verdict = f"[{COLOURS[entry.verdict]}]{entry.verdict}[/]"
            row = f"{entry.row} ({entry.protocol})" if entry.protocol else entry.row
            ours = (entry.ours or "").replace("[", r"\[")
            table.add_row(entry.where, row, entry.quantity, entry.says, ours, verdict)
    Console().print(table, "")
    tally(entries)


def tally(entries: Sequence[Entry]) -> None:
    """Print how many claims have which verdict."""
    counts = Counter(entry.verdict for entry in entries)
    line = ", ".join(f"[{COLOURS[verdict]}]{counts[verdict]} {verdict}[/]" for verdict in COLOURS if counts[verdict])
    Console().print(f"{len(entries)} claims: {line}")
