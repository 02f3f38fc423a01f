"""Runs: train, prune, evaluate; and a detector's recipe for users of MMDetection."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shared.console import Slug, command
from shared.errors import PapertrailError, UsageError

app = typer.Typer()
Name = Annotated[str, typer.Argument(metavar="PROTOCOL", help="A protocol of the paper's params.yaml.")]
Arm = Annotated[str, typer.Argument(metavar="ARM", help="One of its networks.")]
MaybeArm = Annotated[str | None, typer.Argument(metavar="[ARM]", help="One of its networks, or --all.")]
Seed = Annotated[int | None, typer.Option(help="This seed alone, without a summary.")]
Fast = Annotated[bool, typer.Option("--fast", help="Two steps on stand-in data; writes nothing.")]


def _told_already(result: Any) -> None:
    """Runs print a line for each seed when it ends."""


@command(app, show=_told_already)
def train(
    paper: Slug,
    protocol: Name,
    arm: MaybeArm = None,
    seed: Seed = None,
    fast: Fast = False,
    every: Annotated[bool, typer.Option("--all", help="Make and measure every arm in its turn.")] = False,
    jobs: Annotated[
        int, typer.Option(min=1, help="Seeds made at once, on one device, each with as many threads as alone.")
    ] = 1,
) -> dict[str, Any]:
    """Train an arm of a protocol, or make and measure --all."""
    if jobs > 1:
        if fast:
            raise UsageError("--jobs is for runs that are kept; leave it, or --fast, out")
        return _together(_arms(paper, protocol, arm, every), paper, protocol, seed, jobs, every)
    work = [
        (action, one)
        for one in _arms(paper, protocol, arm, every)
        for action in ([_maker(paper, protocol, one), *([] if fast else ["evaluate"])] if every else ["train"])
    ]
    return _perform(work, paper, protocol, seed, fast)


@command(app, show=_told_already)
def prune(paper: Slug, protocol: Name, arm: Arm, seed: Seed = None, fast: Fast = False) -> dict[str, Any]:
    """Make an arm that takes something out of another's network."""
    return _perform([("prune", arm)], paper, protocol, seed, fast)


@command(app, show=_told_already)
def evaluate(
    paper: Slug,
    protocol: Name,
    arm: MaybeArm = None,
    seed: Seed = None,
    every: Annotated[bool, typer.Option("--all", help="Every arm of the protocol.")] = False,
) -> dict[str, Any]:
    """Measure an arm's trained networks on the test split."""
    return _perform([("evaluate", one) for one in _arms(paper, protocol, arm, every)], paper, protocol, seed, False)


def _campaign(found: Any) -> None:
    from shared.campaign.show import show

    show(found)


@command(app, show=_campaign)
def campaign(
    minutes: Annotated[float, typer.Option(min=1, help="After which it has ended by itself.")] = 12,
    papers: Annotated[str | None, typer.Option(metavar="A,B", help="These alone.")] = None,
    out: Annotated[Path, typer.Option(help="The folder of its runs, which `papertrail pin` takes.")] = Path("campaign"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Run only what tells how long runs take.")] = False,
) -> Any:
    """Make the runs that claims wait for, while there is time."""
    from shared import paper
    from shared.campaign.campaign import campaign
    from shared.training.command import quiet

    slugs = [paper.load_paper(slug.strip()).slug for slug in papers.split(",")] if papers else paper.papers()
    quiet()
    return campaign(slugs, out, minutes, dry_run=dry_run)


@command(app, "export-config", show=lambda found: print(found["out"]))
def export_config(
    paper: Slug,
    protocol: Name,
    arm: Arm,
    out: Annotated[Path, typer.Option(help="The Python file to write.")],
) -> dict[str, Any]:
    """Write a detector's arm as a configuration of MMDetection."""
    from shared.detection.config import export_config
    from shared.paper import load_paper

    export_config(load_paper(paper).slug, protocol, arm, out)
    return {"out": str(out)}


def _together(arms: list[str], paper: str, protocol: str, seed: int | None, jobs: int, every: bool) -> dict[str, Any]:
    """The arms side by side; then, of `every` one, what was made is measured; then what was not is an error."""
    from shared.paper import load_paper
    from shared.training.command import checked

    slug = load_paper(paper).slug
    stated = checked(_maker(paper, protocol, arms[0]) if every else "train", slug, protocol, arms[0], seed)
    from shared.training.jobs import make  # late: it brings Lightning, and a misspelt name is told before

    undone = make(slug, protocol, stated, arms, jobs, seed=seed)
    lost = {job.arm for job in undone}
    work: list[tuple[Any, str]] = [("evaluate", arm) for arm in arms if every and arm not in lost]
    result = _perform(work, paper, protocol, seed, False) | {"arms": arms}
    if undone:
        raise PapertrailError("; ".join(f"{job}: {why}" for job, why in undone.items()))
    return result


def _arms(paper: str, protocol: str, arm: str | None, every: bool) -> list[str]:
    """The arm that was named; or every arm, each after the one that it continues."""
    if every == (arm is not None):
        raise UsageError("give either an arm or --all")
    if arm is not None:
        return [arm]
    known = _protocol(paper, protocol)
    return sorted(known.arms, key=lambda one: len(known.lineage(one)))


def _maker(paper: str, protocol: str, arm: str) -> Any:
    return _protocol(paper, protocol).action(arm)


def _protocol(paper: str, name: str) -> Any:
    from shared.files import ROOT
    from shared.paper import load_paper
    from shared.training.protocol import load_protocol

    return load_protocol(ROOT / "papers" / load_paper(paper).slug / "params.yaml", name)


def _perform(work: list[tuple[Any, str]], paper: str, protocol: str, seed: int | None, fast: bool) -> dict[str, Any]:
    """Do (action, arm) after (action, arm); the result has what evaluating found, where a whole arm was measured."""
    from shared.paper import load_paper
    from shared.training.command import perform

    slug = load_paper(paper).slug
    metrics = {}
    for action, arm in work:
        found = perform(action, slug, protocol, arm, seed=seed, fast=fast)
        if action == "evaluate" and seed is None:
            metrics[arm] = found
    return {
        "paper": slug,
        "protocol": protocol,
        "arms": list(dict.fromkeys(arm for _, arm in work)),
        "metrics": metrics,
    }
