"""Generated text: the marked blocks of a paper's page and of the root README, and the ledger by exhibit."""

from __future__ import annotations

import dataclasses
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import PapertrailError, nearest
from shared.files import ROOT, read_json, write_json, write_text
from shared.ledger.claims import RunCheck
from shared.ledger.entry import Entry
from shared.ledger.evidence import arm_result
from shared.ledger.expand import load_claims
from shared.ledger.intervals import WELCH_NOTE
from shared.ledger.judge import judge
from shared.ledger.tables import TITLES, exhibit, in_order, legend, markdown_table, marked, overview
from shared.paper import Paper, load_paper, papers
from shared.training.protocol import Protocol, load_protocols
from shared.weights.records import read_records

BLOCK = r"(<!-- papertrail:begin {name} -->\n)(?:.*?\n)??(<!-- papertrail:end {name} -->)"
NUMBER = re.compile(r"\{([^{}]+)\}")  # in the verdict sentence: the claim whose finding stands there


def sentence(paper: Paper, ours: Mapping[str, str | None]) -> str:
    """The verdict on the paper's point, with the numbers of the ledger.

    Args:
        paper: whose sentence.
        ours: what was found, by claim.

    Raises:
        PapertrailError: the sentence names a claim without a number.
    """

    def number(found: re.Match[str]) -> str:
        value = ours.get(found[1])
        if value is None:
            raise PapertrailError(f"papers/{paper.slug}/paper.yaml: verdict: no number was found for `{found[1]}`")
        return value.partition(" ")[0]  # of an interval its middle

    return NUMBER.sub(number, paper.verdict)


def verdict(slug: str, entries: Sequence[Entry]) -> str:
    """Does the paper's point hold? One sentence, and the claims that it rests on."""
    paper = load_paper(slug)
    protocols = load_protocols(ROOT / "papers" / slug / "params.yaml")
    by_id = {entry.id: entry for entry in entries}
    rows = []
    for identity in paper.main:
        if identity not in by_id:
            raise PapertrailError(f"papers/{slug}/paper.yaml: main: no claim `{identity}`; {nearest(identity, by_id)}")
        entry = by_id[identity]
        claim = f"{entry.row}, {TITLES[entry.quantity]}" if entry.quantity in TITLES else entry.row
        says = entry.says if entry.confidence in ("read", "derived") else f"{entry.says} ({entry.confidence})"
        rows.append([claim, says, entry.ours or "", _scale(entry, protocols),
                     marked(entry.verdict, entry.verdict, coloured=False)])  # fmt: skip
    table = markdown_table(["claim", "the paper", "here", "at which scale", "verdict"], rows)
    return f"**{sentence(paper, {entry.id: entry.ours for entry in entries})}**\n\n{table}"


def _scale(entry: Entry, protocols: Mapping[str, Protocol]) -> str:
    if entry.protocol is not None:
        return protocols[entry.protocol].what
    if entry.check == "count" and "--tool" in entry.command:  # other numbers than those that a plain count gives
        return f"the paper's network, by its tool's rules: `{entry.command}`"
    return {"count": "the paper's network, counted", "oracle": "the paper's network, in a test"}.get(entry.check, "")


def learned(slug: str, entries: Sequence[Entry]) -> str:
    """What surprised us, a bullet each."""
    return "\n".join(f"- {point}" for point in load_paper(slug).learned)


def deviations(slug: str, entries: Sequence[Entry]) -> str:
    """Where the replication differs from the paper, and what that changes."""
    return "\n".join(f"- {one.what} *Expected effect:* {one.effect}" for one in load_paper(slug).deviations)


BLOCKS: dict[str, Callable[[str, Sequence[Entry]], str]] = {
    "verdict": verdict,
    "learned": learned,
    "deviations": deviations,
}


def ledger(slug: str, entries: Sequence[Entry]) -> str:
    """The text of papers/<slug>/ledger.md: every claim by exhibit, every run, what others found, what is not made."""
    paper = load_paper(slug)
    needs = costs(slug)
    places = in_order({place for entry in entries for place in entry.places})
    by_place = {place: [entry for entry in entries if place in entry.places] for place in places}
    missing = [f"- {one.name} ({'counts only' if one.made == 'counts only' else 'not made'}): {one.why}"
               for one in paper.exhibits if one.made != "notebook"]  # fmt: skip
    parts = [
        f"# Ledger: {paper.title}",
        "Generated from claims.yaml and the records; edit neither this page nor its numbers. "
        f"What it comes to: [README.md](README.md). {legend(entries)}",
        overview(entries),
        *(f"## {place}\n\n{exhibit(claims, needs, brief=False)}" for place, claims in by_place.items()),
        f"## Runs\n\nMean and standard deviation over the seeds, the last epoch. {WELCH_NOTE}",
        _runs(slug),
        "## What others found" if paper.replications else "",
        _replications(slug, entries) if paper.replications else "",
        "## Exhibits that are not wholly made" if missing else "",
        "\n".join(missing),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def costs(slug: str) -> dict[str, str]:
    """What each protocol of a paper needs: the machine and the time, where params.yaml says so."""
    protocols = load_protocols(ROOT / "papers" / slug / "params.yaml")
    return {name: protocol.needs for name, protocol in protocols.items()}


def _runs(slug: str) -> str:
    """Per protocol every arm that an ordering compares: what it reached over how many seeds, and its size."""
    protocols = load_protocols(ROOT / "papers" / slug / "params.yaml")
    measured: dict[str, dict[tuple[str, str], None]] = {}
    for check in (claim.check for claim in load_claims(slug)):
        if isinstance(check, RunCheck):
            pairs = measured.setdefault(check.protocol, {})
            pairs |= dict.fromkeys((arm, check.metric) for arm in (check.better, check.than))
    head = ["arm", "metric", "mean ± std", "seeds", "parameters", "MACs"]
    return "\n\n".join(
        f"### `{name}`: {protocols[name].what}\n\n"
        + markdown_table(head, [_arm(slug, name, protocols[name], *pair) for pair in pairs])
        for name, pairs in measured.items()
    )


def _arm(slug: str, name: str, plan: Protocol, arm: str, metric: str) -> list[str]:
    result = arm_result(slug, name, plan, arm, metric)
    spread = f" ± {result.std:.2f}" if result and result.std is not None else ""
    mean, seeds = (f"{result.mean:.2f}{spread}", len(result.values)) if result else ("not run", 0)
    return [arm, metric, mean, str(seeds), *_cost(slug, name, arm)]


def _cost(slug: str, name: str, arm: str) -> list[str]:
    """Parameters and MACs of the networks that an arm ended with, the mean over its seeds; empty without a run."""
    records = read_records(slug, name)
    if records is None or arm not in records.arms:
        return ["", ""]
    seeds = records.arms[arm].seeds.values()
    params, macs = (
        statistics.fmean(sizes) / 1e6 for sizes in zip(*((one.params, one.macs) for one in seeds), strict=True)
    )
    return [f"{params:.3f}M", f"{macs:.2f}M"]


def _replications(slug: str, entries: Sequence[Entry]) -> str:
    """What other groups found, beside the paper's number and ours."""
    by_id = {entry.id: entry for entry in entries}
    rows = []
    for report in load_paper(slug).replications:
        for identity, number in report.found.items():
            if identity not in by_id:
                raise PapertrailError(
                    f"papers/{slug}/paper.yaml: replications: no claim `{identity}`; {nearest(identity, by_id)}"
                )
            entry = by_id[identity]
            rows.append([entry.row, entry.quantity, entry.says, number, entry.ours or entry.verdict, report.who,
                         report.how])  # fmt: skip
    return markdown_table(["network", "quantity", "paper", "they found", "here", "who", "how"], rows)


def papers_table() -> str:
    """The root README's table: what each paper comes to, from its verdicts.json, and where to read on."""
    rows = []
    for slug in papers():
        paper = load_paper(slug)
        file = ROOT / "papers" / slug / "verdicts.json"
        ours = {entry["id"]: entry["ours"] for entry in read_json(file)} if file.exists() else {}
        # A sentence that names other numbers than it did waits for its own paper to be judged, and holds up no other.
        judged = ours and all(ours.get(name) for name in NUMBER.findall(paper.verdict))
        more = (
            f"[page](papers/{slug}), [notebook](notebooks/{slug}.ipynb), [{len(ours)} claims](papers/{slug}/ledger.md)"
        )
        rows.append([f"{paper.title} ({paper.venue})", sentence(paper, ours) if judged else "not judged yet", more])
    return markdown_table(["paper", "does it hold here?", "more"], rows)


def verdict_records(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """What verdicts.json and `papertrail ledger --json` hold."""
    return [dataclasses.asdict(entry) for entry in entries]


def fill(text: str, name: str, content: str, file: Path) -> str:
    """`text` with `content` between the marks of block `name`; PapertrailError when `file` lacks them."""
    filled, found = re.subn(
        BLOCK.format(name=re.escape(name)), lambda marks: f"{marks[1]}{content}\n{marks[2]}", text, flags=re.DOTALL
    )
    if found != 1:
        raise PapertrailError(
            f"{file}: {found} blocks `{name}`; keep one pair of lines `<!-- papertrail:begin {name} -->`, "
            f"`<!-- papertrail:end {name} -->`"
        )
    return filled


def _generated(slug: str, entries: Sequence[Entry]) -> list[tuple[Path, str, str]]:
    """Each generated page: its file, its text as it is and as it should be."""
    page, record, root = ROOT / "papers" / slug / "README.md", ROOT / "papers" / slug / "ledger.md", ROOT / "README.md"
    text = new = page.read_text(encoding="utf-8")
    for name, block in BLOCKS.items():
        new = fill(new, name, block(slug, entries), page)
    old = record.read_text(encoding="utf-8") if record.exists() else ""
    front = root.read_text(encoding="utf-8")
    return [(page, text, new), (record, old, ledger(slug, entries)),
            (root, front, fill(front, "papers", papers_table(), root))]  # fmt: skip


def update(slug: str, entries: Sequence[Entry]) -> None:
    """Write papers/<slug>/verdicts.json, ledger.md and every generated block that changed."""
    write_json(ROOT / "papers" / slug / "verdicts.json", verdict_records(entries))
    for file, text, new in _generated(slug, entries):
        if new != text:
            write_text(file, new)


def stale(slug: str) -> list[str]:
    """The generated files of a paper, and the root README, that differ from what would be generated now."""
    entries = judge(slug)
    record = ROOT / "papers" / slug / "verdicts.json"
    old = [] if record.exists() and read_json(record) == verdict_records(entries) else [record]
    old += [file for file, text, new in _generated(slug, entries) if text != new]
    return [str(file.relative_to(ROOT)) for file in old]
