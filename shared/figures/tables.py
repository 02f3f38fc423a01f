"""Tables of claims in Markdown: each row of the paper beside ours, with its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.ledger import Entry

VERDICTS = ("exact", "within", "supported", "inconclusive", "deviates", "contradicted", "not attempted")
TITLES = {
    "params": "parameters",
    "macs": "MACs",
    "top1": "top-1, %",
    "top5": "top-5, %",
    "ap": "AP",
    "latency_ms": "latency, ms",
}
NEED_REASON = ("inconclusive", "deviates", "contradicted")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column is set left, the others right."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def beside(entries: Sequence[Entry], titles: Mapping[str, str] = TITLES) -> str:
    """The paper's rows beside ours: two columns for each quantity of `titles` that occurs in `entries`."""
    quantities = [quantity for quantity in titles if any(entry.quantity == quantity for entry in entries)]
    cells = {(entry.row, entry.quantity): entry for entry in entries}
    head = ["network", *(f"{titles[quantity]}: {who}" for quantity in quantities for who in ("paper", "ours"))]
    rows = []
    for row in dict.fromkeys(entry.row for entry in entries if entry.quantity in quantities):
        line = [row]
        for quantity in quantities:
            entry = cells.get((row, quantity))
            line += ["", ""] if entry is None else [entry.says, _ours(entry)]
        rows.append(line)
    return markdown_table(head, rows)


def statements(entries: Sequence[Entry]) -> str:
    """The claims that are no cell of a table (orderings, equal outputs): what is said, what was found, under which check."""
    rows = []
    for entry in entries:
        where = f"{entry.check}, {entry.protocol}" if entry.protocol else entry.check
        rows.append([entry.row, entry.says, _ours(entry), where])
    return markdown_table(["claim", "paper", "here", "check"], rows)


def section(entries: Sequence[Entry]) -> str:
    """All that is known of `entries`: the table beside ours, the statements, the reasons, and the verdict line."""
    numbers = [entry for entry in entries if entry.quantity in TITLES]
    others = [entry for entry in entries if entry.quantity not in TITLES]
    parts = [beside(numbers) if numbers else "", statements(others) if others else "", reasons(entries)]
    return "\n\n".join(part for part in [*parts, verdict_line(entries)] if part)


def verdict_line(entries: Sequence[Entry]) -> str:
    """One line that counts the verdicts of `entries`, in the order of `VERDICTS`."""
    counts = Counter(entry.verdict for entry in entries)
    if not counts:
        return "**Verdict:** no claim stands here."
    return "**Verdict:** " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) + "."


def reasons(entries: Sequence[Entry]) -> str:
    """Why claims deviate, are undecided or were not attempted: one item for each reason, naming its claims."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.verdict in NEED_REASON or entry.verdict == "not attempted":
            command = entry.command if entry.verdict == "not attempted" else ""
            groups.setdefault((entry.verdict, entry.reason or "", command or ""), []).append(entry)
    items = []
    for (verdict, reason, command), members in groups.items():
        names = dict.fromkeys(f"{entry.row} ({_short(entry.quantity)})" for entry in members)
        subject = f"{len(names)} claims" if len(names) > 3 else ", ".join(names)
        how = f" To try: `{command}`" if command else ""
        items.append(f"- *{verdict}*, {subject}: {reason or 'no evidence yet.'}{how}")
    return "\n".join(items)


def _ours(entry: Entry) -> str:
    if entry.verdict == "not attempted":
        return "not attempted"
    strong = "**" if entry.verdict in ("deviates", "contradicted") else ""
    return f"{strong}{entry.ours} ({entry.verdict}){strong}"


def _short(quantity: str) -> str:
    return TITLES.get(quantity, quantity).removesuffix(", %").removesuffix(", ms")
