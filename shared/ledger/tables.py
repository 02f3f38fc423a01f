"""Tables of claims in Markdown: each row of the paper beside ours, with its verdict."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from shared.ledger import VERDICTS, Entry
from shared.ledger.judge import Verdict

TITLES = {
    "params": "parameters",
    "params_saved": "parameters saved, %",
    "macs": "MACs",
    "macs_saved": "MACs saved, %",
    "multiplications": "multiplications",
    "additions": "additions",
    "energy_mj": "energy, mJ",
    "top1": "top-1, %",
    "top5": "top-5, %",
    "error": "test error, %",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ap_s": "AP, small",
    "ap_m": "AP, medium",
    "ap_l": "AP, large",
    "map50": "mAP at IoU 0.5",
    "fps": "images/s",
    "latency_ms": "latency, ms",
    "seconds": "time, s",
    "memory_mb": "memory, MB",
    "mse": "error, 1e-3",
}
TOLD = ("deviates", "contradicted", "not attempted")  # verdicts whose reason is always given


PROSE = 30  # characters; a column with a longer cell is prose


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column and columns of prose are set left, the others right."""
    body = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    longest = [max((len(row[place]) for row in body), default=0) for place in range(len(head))]
    sides = [":--" if place == 0 or length > PROSE else "--:" for place, length in enumerate(longest)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, sides, *body])


def beside(entries: Sequence[Entry], titles: Mapping[str, str] = TITLES) -> str:
    """The paper's rows beside ours: two columns for each quantity of `titles` that occurs in `entries`.

    A row that the paper prints twice with the same quantity (in a table and in a figure) fills two lines.
    """
    quantities = [quantity for quantity in titles if any(entry.quantity == quantity for entry in entries)]
    lines: list[tuple[str, dict[str, Entry]]] = []
    for entry in entries:
        if entry.quantity not in quantities:
            continue
        free = (cells for row, cells in lines if row == entry.row and entry.quantity not in cells)
        cells = next(free, None)
        if cells is None:
            cells = {}
            lines.append((entry.row, cells))
        cells[entry.quantity] = entry
    head = ["network", *(f"{titles[quantity]}: {who}" for quantity in quantities for who in ("paper", "ours"))]
    rows = []
    for row, cells in lines:
        found = [cells.get(quantity) for quantity in quantities]
        rows.append([row, *(text for entry in found for text in (("", "") if entry is None else _pair(entry)))])
    return markdown_table(head, rows)


def statements(entries: Sequence[Entry]) -> str:
    """The claims that are no cell of a table (orderings, equal outputs): what is said and what was found, and how."""
    rows = []
    for entry in entries:
        check = f"{entry.check}, {entry.protocol}" if entry.protocol else entry.check
        rows.append([entry.row, _says(entry), entry.ours or "", entry.verdict, check])
    return markdown_table(["claim", "paper", "here", "verdict", "check"], rows)


def section(entries: Sequence[Entry]) -> str:
    """All that is known of `entries`: the table beside ours, the statements, the reasons, and the verdict line."""
    numbers = [entry for entry in entries if entry.quantity in TITLES]
    others = [entry for entry in entries if entry.quantity not in TITLES]
    parts = [beside(numbers) if numbers else "", statements(others) if others else "", reasons(entries)]
    return "\n\n".join(part for part in [*parts, verdict_line(entries)] if part)


def overview(entries: Sequence[Entry]) -> str:
    """How many claims of each place have which verdict; a claim that stands in several places counts in each."""
    counts: dict[str, Counter[Verdict]] = {}
    for entry in entries:
        for place in entry.places:
            counts.setdefault(place, Counter())[entry.verdict] += 1
    given = [verdict for verdict in VERDICTS if any(verdict in count for count in counts.values())]
    rows = [[place, *(counts[place][verdict] or "" for verdict in given)] for place in in_order(counts)]
    return markdown_table(["where", *given], rows)


def in_order(places: Iterable[str]) -> list[str]:
    """Tables, then figures, then sections, then the rest, each by number."""
    words = ("Table", "Figure", "Section")

    def rank(place: str) -> tuple[int, list[int], str]:
        kind = next((number for number, word in enumerate(words) if place.startswith(word)), len(words))
        return kind, [int(digits) for digits in re.findall(r"\d+", place)], place

    return sorted(places, key=rank)


def verdict_line(entries: Sequence[Entry]) -> str:
    """One line that counts the verdicts of `entries`, in the order of `VERDICTS`."""
    counts = Counter(entry.verdict for entry in entries)
    if not counts:
        return "**Verdict:** none; the paper prints no number here."
    return "**Verdict:** " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) + "."


def reasons(entries: Sequence[Entry]) -> str:
    """Why claims deviate or were not attempted, and how runs were judged: one item a reason, naming its claims."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry.verdict in TOLD or entry.check == "run":
            groups.setdefault((entry.verdict, entry.reason), []).append(entry)
    items = []
    for (verdict, reason), members in groups.items():
        names = dict.fromkeys(f"{entry.row} ({_short(entry.quantity)})" for entry in members)
        subject = f"{len(members)} claims" if len(names) > 3 else ", ".join(names)
        commands = dict.fromkeys(entry.command for entry in members if verdict == "not attempted" and entry.command)
        how = f" To try: {', '.join(f'`{command}`' for command in commands)}." if commands else ""
        items.append(f"- *{verdict}*, {subject}: {reason}{how}")
    return "\n".join(items)


def _says(entry: Entry) -> str:
    """As printed; how the print is known, when it was not read."""
    return entry.says if entry.confidence == "read" else f"{entry.says} ({entry.confidence})"


def _pair(entry: Entry) -> tuple[str, str]:
    """What the paper says and what was found, for two cells of a table."""
    if entry.verdict == "not attempted":
        return _says(entry), "not attempted"
    strong = "**" if entry.verdict in TOLD else ""
    return _says(entry), f"{strong}{entry.ours} ({entry.verdict}){strong}"


def _short(quantity: str) -> str:
    return TITLES.get(quantity, quantity).split(",")[0]
