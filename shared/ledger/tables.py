"""Tables of claims in Markdown: each table as the paper prints it, ours beside it, the verdict as a mark."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from shared.ledger import VERDICTS, Entry
from shared.ledger.entry import Verdict

TITLES = {
    "params": "parameters",
    "params_saved": "parameters saved, %",
    "macs": "MACs",
    "activations": "activations",
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
    "ar": "AR",
    "ar_s": "AR, small",
    "ar_m": "AR, medium",
    "ar_l": "AR, large",
    "miou": "mIoU, %",
    "f_measure": "F-measure",
    "mae": "mean absolute error",
    "fps": "images/s",
    "latency_ms": "latency, ms",
    "seconds": "time, s",
    "memory_mb": "memory, MB",
    "memory_gb": "memory, GB",
    "mse": "error, 1e-3",
}
# A mark says what the colour says: GitHub strips colours, and not everybody sees them. The colours are Okabe and Ito's,
# darkened for text.
HOLDS, OPEN, FAILS, UNTRIED = "#005f96", "#8a5a00", "#b34700", "#767676"
MARKS: dict[str, tuple[str, str]] = {
    "exact": ("✓", HOLDS),
    "within": ("≡", HOLDS),
    "consistent": ("≈", HOLDS),
    "reproduced": ("★", HOLDS),
    "supported": ("▲", HOLDS),
    "inconclusive": ("?", OPEN),
    "deviates": ("≠", FAILS),
    "not reproduced": ("✗", FAILS),
    "contradicted": ("▼", FAILS),
    "not attempted": ("○", UNTRIED),
}
LONGEST = 300  # characters of a bullet in a notebook


PROSE = 30  # characters; a column with a longer cell is prose


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; the first column and columns of prose are set left, the others right."""
    body = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    longest = [max((len(re.sub("<[^>]+>", "", row[place])) for row in body), default=0) for place in range(len(head))]
    sides = [":--" if place == 0 or length > PROSE else "--:" for place, length in enumerate(longest)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, sides, *body])


def marked(text: str, verdict: str, *, coloured: bool = True) -> str:
    """`text` with the verdict's mark, in the verdict's colour."""
    mark, colour = MARKS[verdict]
    whole = f"{text} {mark}".strip()
    return f'<span style="color:{colour}">{whole}</span>' if coloured else whole


def legend(entries: Iterable[Entry]) -> str:
    """What the marks of `entries` say, in one line."""
    given = {entry.verdict for entry in entries}
    return "Marks: " + ", ".join(f"{MARKS[verdict][0]} {verdict}" for verdict in VERDICTS if verdict in given) + "."


def exhibit(entries: Sequence[Entry], needs: Mapping[str, str], *, brief: bool) -> str:
    """All that is known of the claims of one table or figure: the table, notes on it, the orderings, what is missing.

    Args:
        entries: of one place.
        needs: protocol -> the machine and the time that it takes.
        brief: for a notebook: in colour, long reasons cut, what was not attempted in one line. The ledger says it all.
    """
    numbers = [entry for entry in entries if _is_number(entry)]
    others = [entry for entry in entries if not _is_number(entry)]
    if brief:
        others = [entry for entry in others if entry.verdict != "not attempted"]
    notes = footnotes(numbers)
    parts = [
        printed(numbers, notes, coloured=brief) if numbers else "",
        "\n".join(f"{place}. {shorten(reason) if brief else reason}" for reason, place in notes.items()),
        statements(others, coloured=brief) if others else "",
        untried(entries, needs) if brief else "\n".join(reasons(entries, needs)),
    ]
    return "\n\n".join(part for part in parts if part) or "The paper prints no number here."


def printed(entries: Sequence[Entry], notes: Mapping[str, int], *, coloured: bool) -> str:
    """The paper's table, ours beside every quantity of which we have one.

    A row that the paper prints twice with the same quantity (in a table and in a figure) fills two lines. How most
    prints are known is said once, unless they were read, and how another is known in its cell.

    Args:
        entries: numbers of one table.
        notes: reason -> number of the footnote.
        coloured: verdicts in colour, beside their marks.
    """
    lines = _lines(entries)
    columns = _columns(cells for _, cells in lines)
    tried = {title for _, cells in lines for title, entry in cells.items() if entry.ours is not None}
    usual = Counter(entry.confidence for entry in entries).most_common(1)[0][0]
    head = ["network"]
    for title in columns:
        head += [title, "ours"] if title in tried else [title]
    rows = []
    for row, cells in lines:
        line = [row]
        for title in columns:
            entry = cells.get(title)
            line.append("" if entry is None else _says(entry, usual, coloured=coloured))
            if title in tried:
                line.append("" if entry is None else _ours(entry, notes, coloured=coloured))
        rows.append(line)
    known = "" if usual == "read" else f"\n\nPrinted numbers are {usual} where nothing else is said."
    return markdown_table(head, rows) + known


def _is_number(entry: Entry) -> bool:
    """Whether a claim is a cell of a table: no ordering, no sentence."""
    return entry.quantity in TITLES or (re.match(r"[+-]?\d", entry.says) is not None and entry.check != "run")


def _lines(entries: Sequence[Entry]) -> list[tuple[str, dict[str, Entry]]]:
    """The rows of the table with their cells, by the titles of the columns."""
    under = _ways(entries)
    lines: list[tuple[str, dict[str, Entry]]] = []
    for entry in entries:
        row, _, what = entry.row.partition(": ")
        title = TITLES.get(entry.quantity, what or "printed")
        base, _, way = row.rpartition(", ")
        if way in under:
            row, title = base, way if way in TITLES.values() or (not what and title == "printed") else f"{way}: {title}"
        free = (cells for known, cells in lines if known == row and title not in cells)
        cells = next(free, None)
        if cells is None:
            cells = {}
            lines.append((row, cells))
        cells[title] = entry
    return lines


def _ways(entries: Iterable[Entry]) -> set[str]:
    """What stands behind the last comma of several rows and names a column: "scratch-B", "training", "additions".

    What has numbers of several kinds is a row of its own: "baseline", "70 % pruned", "ResNet-50".
    """
    found: dict[str, tuple[set[str], set[str]]] = {}
    for entry in entries:
        base, _, way = entry.row.partition(": ")[0].rpartition(", ")
        if base:
            bases, kinds = found.setdefault(way, (set(), set()))
            bases.add(base)
            kinds.update({entry.quantity} & TITLES.keys())
    return {way for way, (bases, kinds) in found.items() if len(bases) > 1 and len(kinds) < 2}


def _columns(rows: Iterable[Mapping[str, Entry]]) -> list[str]:
    """The columns by their mean place in the rows, of which some lack numbers and some take them from other tables."""
    places: dict[str, list[int]] = {}
    for cells in rows:
        for place, title in enumerate(cells):
            places.setdefault(title, []).append(place)
    return sorted(places, key=lambda title: fmean(places[title]))


def _says(entry: Entry, usual: str, *, coloured: bool) -> str:
    text = entry.says if entry.confidence == usual else f"{entry.says} ({entry.confidence})"
    return f'<span style="color:{UNTRIED}">{text}</span>' if coloured and entry.verdict == "not attempted" else text


def _ours(entry: Entry, notes: Mapping[str, int], *, coloured: bool) -> str:
    ours = "in a test" if entry.check == "oracle" else entry.ours or ""
    note = notes.get(_why(entry))
    return marked(ours, entry.verdict, coloured=coloured) + (f" [{note}]" if note else "")


def footnotes(entries: Iterable[Entry]) -> dict[str, int]:
    """The reasons of what deviates, numbered from 1 as they occur."""
    told = dict.fromkeys(_why(entry) for entry in entries if entry.verdict in EXPLAINED)
    return {reason: place for place, reason in enumerate(told, start=1)}


def _why(entry: Entry) -> str:
    return f"{MARKS[entry.verdict][0]} {entry.reason}" if entry.verdict in EXPLAINED else ""


EXPLAINED = ("deviates", "not reproduced")


def shorten(text: str) -> str:
    """The first whole sentences of `text` that make at most `LONGEST` characters; the ledger has the rest."""
    if len(text) <= LONGEST:
        return text
    room = LONGEST - len(" …")
    sentences = text[:room].rpartition(". ")[0]
    return (f"{sentences}." if sentences else text[:room].rpartition(" ")[0]) + " …"


def statements(entries: Sequence[Entry], *, coloured: bool = False) -> str:
    """The claims that are no cell of a table (orderings, equal outputs): what is said, what was found, how, where."""
    rows = []
    for entry in entries:
        how = entry.reason.removeprefix("Criterion: ") if entry.check == "run" else entry.command
        says = entry.says if entry.confidence == "read" else f"{entry.says} ({entry.confidence})"
        rows.append([entry.row, says, how, entry.protocol or "", entry.ours or "", 
                     marked(entry.verdict, entry.verdict, coloured=coloured)])  # fmt: skip
    return markdown_table(["claim", "paper", "criterion", "run", "here (95 % interval)", "verdict"], rows)


def untried(entries: Sequence[Entry], needs: Mapping[str, str]) -> str:
    """One line: how much was not attempted, and the command that would do most of it; empty when all was."""
    missing = [entry for entry in entries if entry.verdict == "not attempted"]
    if not missing:
        return ""
    counts = Counter(protocol for entry in missing if (protocol := entry.protocol))
    of = f"{len(missing)} of {len(entries)}" if len(missing) < len(entries) else f"all {len(entries)}"
    line = f"Not attempted: {of} claims"
    if counts:
        protocol, count = counts.most_common(1)[0]
        which = "them" if count == len(missing) else f"{count} of them"
        line += f"; {_command(missing[0].paper, protocol, needs)} would test {which}"
    rest = len(missing) - counts.total()
    why = f"; for {rest} there is no command here, [the ledger](../papers/{missing[0].paper}/ledger.md) says why"
    return f'<span style="color:{UNTRIED}">○ {line}{why if rest else ""}.</span>'


def reasons(entries: Iterable[Entry], needs: Mapping[str, str]) -> list[str]:
    """Why claims were not attempted: an item a reason, with how many it concerns and one command for each protocol."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.verdict == "not attempted":
            groups.setdefault(entry.reason, []).append(entry)
    items = []
    for reason, members in groups.items():
        protocols = dict.fromkeys(protocol for entry in members if (protocol := entry.protocol))
        commands = ", ".join(_command(members[0].paper, protocol, needs) for protocol in protocols)
        items.append(f"- ○ {len(members)} not attempted: {reason}" + (f" To try: {commands}." if commands else ""))
    return items


def _command(slug: str, protocol: str, needs: Mapping[str, str]) -> str:
    cost = needs.get(protocol)
    return f"`papertrail train {slug} {protocol} --all`" + (f" ({cost})" if cost else "")


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
