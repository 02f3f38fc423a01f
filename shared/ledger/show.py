"""The ledger on a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from shared.ledger.entry import VERDICTS, Entry, Verdict
from shared.ledger.tables import FAILS, HOLDS, MARKS, OPEN, UNTRIED

WIDE = 400  # columns
# The terminal's own colours: those of the pages are made for white.
COLOURS = {HOLDS: "green", OPEN: "yellow", FAILS: "red", UNTRIED: "dim"}


def show(entries: Sequence[Entry]) -> None:
    """Print the claims, one a line, and count their verdicts."""
    table = Table(box=None, pad_edge=False)
    for head in ("where", "claim", "quantity", "paper", "ours", "verdict"):
        table.add_column(head, justify="right" if head == "paper" else "left", overflow="fold")
    for entry in entries:
        verdict = _coloured(entry.verdict, f"{MARKS[entry.verdict][0]} {entry.verdict}")
        row = f"{entry.row} ({entry.protocol})" if entry.protocol else entry.row
        ours = (entry.ours or "").replace("[", r"\[")
        table.add_row(entry.where, row, entry.quantity, entry.says, ours, verdict)
    console().print(table, "")
    tally(entries)


def tally(entries: Sequence[Entry]) -> None:
    """Print how many claims have which verdict."""
    counts = Counter(entry.verdict for entry in entries)
    line = ", ".join(_coloured(verdict, f"{counts[verdict]} {verdict}") for verdict in VERDICTS if counts[verdict])
    console().print(f"{len(entries)} claims: {line}")


def console() -> Console:
    """As wide as the terminal; what is piped into another program keeps one line for each claim."""
    return Console() if sys.stdout.isatty() else Console(width=WIDE, soft_wrap=True)


def _coloured(verdict: Verdict, text: str) -> str:
    return f"[{COLOURS[MARKS[verdict][1]]}]{text}[/]"
