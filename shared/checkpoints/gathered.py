"""The folder of a campaign: runs of many papers in one place, laid out as each paper's own are (shared/campaign)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.checkpoints.records import recorded
from shared.errors import UsageError
from shared.training.protocol import Protocol, load_protocol
from shared.weights.card import home
from shared.weights.load import run_folder

CAMPAIGN = "campaign.json"  # lies in such a folder, and in no other


@dataclass(frozen=True)
class Gathered:
    """The folders of the seeds that can be pinned, and what is left for another time, with the reason."""

    seeds: tuple[Path, ...]
    left: tuple[str, ...]


def runs_in(out: Path, slug: str) -> Path:
    """Where the runs of a paper are kept in the folder of a campaign."""
    return out / "papers" / slug / "runs"


def gather(out: Path) -> Gathered:
    """Of a campaign the arms that are whole: every seed is finished and evaluated, or pinned, and so are those of all
    that they continue; some seeds of an arm alone decide nothing.

    UsageError when there is none.
    """
    seeds: list[Path] = []
    left: list[str] = []
    for folder in sorted(one for one in out.glob("papers/*/runs/*") if one.is_dir()):
        slug, name = folder.parent.parent.name, folder.name
        protocol = load_protocol(home(slug) / "params.yaml", name)
        for arm in sorted(one.name for one in folder.iterdir() if (one / "seeds").is_dir()):
            lacking = _lacking(folder.parent, slug, name, protocol, arm)
            if lacking is None:
                seeds += [one for seed in protocol.seeds if (one := _made(folder.parent, slug, name, arm, seed))]
            else:
                left.append(f"{slug}/{name}/{arm}: {lacking}")
    if not seeds:
        raise UsageError(f"{out}: no arm is whole yet ({'; '.join(left) or 'nothing was run'})")
    return Gathered(tuple(seeds), tuple(left))


def _lacking(runs: Path, slug: str, name: str, protocol: Protocol, arm: str) -> str | None:
    """What keeps an arm from being pinned; None where nothing does."""
    if arm not in protocol.arms:
        return "params.yaml has no such arm any more"
    for one in protocol.lineage(arm):
        for seed in protocol.seeds:
            if not (_made(runs, slug, name, one, seed) or recorded(slug, name, protocol, one, seed)):
                return f"seed {seed} of `{one}` is not finished"
    return None


def _made(runs: Path, slug: str, name: str, arm: str, seed: int) -> Path | None:
    """The folder of a seed that is finished and evaluated."""
    folder = run_folder(slug, name, arm, seed, runs)
    evaluated = folder.parent.parent / "evaluated" / f"{seed}.json"
    return folder if (folder / "run.json").exists() and evaluated.exists() else None
