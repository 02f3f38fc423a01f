"""Generated text: the marked blocks of a paper's README and of the root README, and whether they are up to date."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from shared.detection.sets import any_spec
from shared.errors import PapertrailError
from shared.files import ROOT, read_json, write_json, write_text
from shared.ledger.claims import Claim, RunCheck, load_claims
from shared.ledger.evidence import ArmResult, arm_result
from shared.ledger.intervals import welch
from shared.ledger.judge import VERDICTS, Entry, count_model, judge
from shared.ledger.tables import in_order, markdown_table, section
from shared.paper import load_paper, papers
from shared.training.recipe import Protocol, input_shape, load_protocols
from shared.weights.card import cards

BLOCK = r"(<!-- papertrail:begin {name} -->\n)(?:.*?\n)??(<!-- papertrail:end {name} -->)"


def verdicts(slug: str, entries: Sequence[Entry]) -> str:
    """How many claims have which verdict, by kind of check."""
    kinds = list(dict.fromkeys(entry.check for entry in entries))
    counts = Counter((entry.verdict, entry.check) for entry in entries)
    rows = [
        [verdict, *(counts[verdict, kind] or "" for kind in kinds), sum(counts[verdict, kind] for kind in kinds)]
        for verdict in VERDICTS
        if any(counts[verdict, kind] for kind in kinds)
    ]
    return markdown_table([f"verdict ({len(entries)} claims)", *kinds, "all"], rows)


def tables(slug: str, entries: Sequence[Entry]) -> str:
    """Place by place, the paper's numbers beside ours."""
    places = in_order({place for entry in entries for place in entry.places})
    return "\n\n".join(_place(place, [entry for entry in entries if place in entry.places]) for place in places)


def _place(place: str, entries: Sequence[Entry]) -> str:
    known = Counter(entry.confidence for entry in entries)
    source = ", ".join(f"{count} {confidence}" for confidence, count in known.items())
    return f"### {place}\n\nHow its {len(entries)} claims are known: {source}.\n\n{section(entries)}"


def runs(slug: str, entries: Sequence[Entry]) -> str:
    """Per protocol: every arm (accuracy, seeds, size), then every ordering with its interval and criterion."""
    protocols = load_protocols(ROOT / "papers" / slug / "params.yaml")
    verdict = {entry.id: entry.verdict for entry in entries}
    orderings: dict[str, list[tuple[Claim, RunCheck]]] = {}
    for claim in load_claims(slug):
        if isinstance(claim.check, RunCheck):
            orderings.setdefault(claim.check.protocol, []).append((claim, claim.check))
    parts = []
    for name, here in orderings.items():
        plan = protocols[name]
        measured = dict.fromkeys((arm, check.metric) for _, check in here for arm in (check.better, check.than))
        results = {(arm, metric): arm_result(slug, name, plan, arm, metric) for arm, metric in measured}
        rows = []
        for claim, check in here:
            better, than = (results[arm, check.metric] for arm in (check.better, check.than))
            found = "no interval"
            if better and than and better.std is not None and than.std is not None:
                found = str(welch([*better.values.values()], [*than.values.values()]))
            rows.append([f"{check.better} - {check.than}", found, verdict[claim.id], check.criterion])
        head = ["difference", "points (95 % interval)", "verdict", "criterion, written before the run"]
        arms = [_arm(slug, name, plan, arm, metric, result) for (arm, metric), result in results.items()]
        parts += [
            f"### `{name}`: {plan.what}",
            markdown_table(["arm", "metric", "mean ± std", "seeds", "parameters", "MACs"], arms),
            markdown_table(head, rows),
        ]
    return "\n\n".join(parts)


def _arm(slug: str, name: str, plan: Protocol, arm: str, metric: str, result: ArmResult | None) -> list[str]:
    spread = f" ± {result.std:.2f}" if result and result.std is not None else ""
    mean, seeds = (f"{result.mean:.2f}{spread}", len(result.values)) if result else ("not run", 0)
    return [arm, metric, mean, str(seeds), *_cost(slug, name, plan, arm)]


def _cost(slug: str, name: str, plan: Protocol, arm: str) -> list[str]:
    """Parameters and MACs of an arm; where pruning decided them, the mean over the seeds that were run.

    A detector that cannot be built without MMDetection has those of its checkpoint.
    """
    network, shape = plan.arms[arm], input_shape(plan)
    if network.of is not None:
        found = [arm_result(slug, name, plan, arm, metric) for metric in ("params", "macs")]
        return [f"{one.mean / 1e6:.{digits}f}M" if one else "" for one, digits in zip(found, (3, 2), strict=True)]
    if plan.recipe.task == "detection" and find_spec("mmcv") is None:  # a paper that counts none is judged without it
        for card in cards(slug):
            if (card.protocol, card.arm) == (name, arm):
                return _millions(card.params, card.macs)
    channels = {} if shape[0] == 3 else {"in_channels": shape[0]}
    cost = count_model(slug, network.builder, {**network.args, **channels}, shape, any_spec(plan.data).classes)
    params, macs = _millions(cost.params, cost.macs)
    return [params, f"{macs} + {cost.adder_taps / 1e6:.2f}M adder taps" if cost.adder_taps else macs]


def _millions(params: int, macs: int) -> list[str]:
    return [f"{params / 1e6:.3f}M", f"{macs / 1e6:.2f}M"]


def replications(slug: str, entries: Sequence[Entry]) -> str:
    """What other groups found, beside the paper's number and ours."""
    by_id = {entry.id: entry for entry in entries}
    rows = []
    for report in load_paper(slug).replications:
        for identity, number in report.found.items():
            if identity not in by_id:
                raise PapertrailError(f"papers/{slug}/paper.yaml: replications: claims.yaml has no claim `{identity}`")
            entry = by_id[identity]
            rows.append([entry.row, entry.quantity, entry.says, number, entry.ours or entry.verdict, report.who,
                         report.how])  # fmt: skip
    return markdown_table(["network", "quantity", "paper", "they found", "here", "who", "how"], rows)


def scope(slug: str, entries: Sequence[Entry]) -> str:
    """What differs from the paper, and what was left out."""
    paper = load_paper(slug)
    differs = [f"- {deviation.what} *Expected effect:* {deviation.effect}" for deviation in paper.deviations]
    missing = [f"- {part.what} *Why:* {part.why}" for part in paper.not_tested]
    return "\n".join(["Where this replication differs:", "", *differs, "", "Not tested:", "", *missing])


BLOCKS: dict[str, Callable[[str, Sequence[Entry]], str]] = {
    "verdicts": verdicts,
    "tables": tables,
    "runs": runs,
    "replications": replications,
    "scope": scope,
}


def papers_table() -> str:
    """The root README's table of papers with their verdict counts, from each paper's verdicts.json."""
    rows = []
    for slug in papers():
        paper = load_paper(slug)
        file = ROOT / "papers" / slug / "verdicts.json"
        counts = Counter(entry["verdict"] for entry in read_json(file)) if file.exists() else Counter()
        rows.append(
            [f"[{paper.title}](papers/{slug})", paper.venue, sum(counts.values()), *(counts[v] or "" for v in VERDICTS)]
        )
    return markdown_table(["paper", "venue", "claims", *VERDICTS], rows)


def render(slug: str, block: str, entries: Sequence[Entry] | None = None) -> str:
    """The text of one block of papers/<slug>/README.md; `entries` when they have been judged already."""
    if block not in BLOCKS:
        raise PapertrailError(f"papers/{slug}/README.md: no block `{block}`; there are {', '.join(BLOCKS)}")
    return BLOCKS[block](slug, judge(slug) if entries is None else entries)


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


def _page(slug: str, entries: Sequence[Entry]) -> tuple[Path, str, str]:
    """The paper's README, its text as it is and as it should be."""
    file = ROOT / "papers" / slug / "README.md"
    text = new = file.read_text(encoding="utf-8")
    for name in BLOCKS:
        new = fill(new, name, render(slug, name, entries), file)
    return file, text, new


def _root() -> tuple[Path, str, str]:
    file = ROOT / "README.md"
    text = file.read_text(encoding="utf-8")
    return file, text, fill(text, "papers", papers_table(), file)


def update(slug: str, entries: Sequence[Entry]) -> None:
    """Write papers/<slug>/verdicts.json and every generated block that changed."""
    write_json(ROOT / "papers" / slug / "verdicts.json", verdict_records(entries))
    for file, text, new in (_page(slug, entries), _root()):
        if new != text:
            write_text(file, new)


def stale(slug: str) -> list[str]:
    """The generated files of a paper, and the root README, that differ from what would be generated now."""
    entries = judge(slug)
    record = ROOT / "papers" / slug / "verdicts.json"
    pages = [_page(slug, entries), _root()]
    old = [] if record.exists() and read_json(record) == verdict_records(entries) else [record]
    return [str(file.relative_to(ROOT)) for file in old + [file for file, text, new in pages if text != new]]
