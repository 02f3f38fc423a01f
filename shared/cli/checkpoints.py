"""What is kept of runs: pin, checkpoints, verify, release; and networks in and out: export, import, accuracy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shared.console import (
    Classes,
    MaybeReference,
    MaybeSlug,
    Reference,
    Settings,
    Slug,
    command,
    print_lines,
    settings_of,
)
from shared.errors import UsageError

app = typer.Typer()


def _pinned(found: dict[str, list[str]]) -> None:
    print_lines([f"pinned {seed}" for seed in found["seeds"]])
    print_lines([f"kept the weights of {name}" for name in found["checkpoints"]])
    print_lines([f"refused from now on: {reason}" for reason in found["refused"]])
    for reason in found["left"]:
        print(f"left for another time: {reason}")
    print("now: git add, git commit; then `papertrail ledger`")


@command(app, show=_pinned)
def pin(
    runs: Annotated[
        list[Path],
        typer.Argument(help="papers/<slug>/runs/<protocol>/<arm>, seeds/<N> in it, or the folder of a campaign."),
    ],
    replace: Annotated[bool, typer.Option("--replace", help="In the place of what is pinned of these seeds.")] = False,
) -> dict[str, list[str]]:
    """Make the records of runs part of the repository."""
    from shared.checkpoints.pin import pin

    found = pin(runs, replace=replace)
    checkpoints = [card.ref for card in found.checkpoints]
    told = {"seeds": list(found.seeds), "checkpoints": checkpoints, "refused": list(found.refused)}
    return told | {"left": list(found.left)}


def _kept(card: dict[str, Any]) -> None:
    network = ", ".join([card["model"], *(f"{key}={value}" for key, value in card["args"].items())])
    measured = f"{card['metric']} {card['value']:.2f} on {card['data']}"
    print(f"{card['checkpoint']}: {network}; {measured}; {card['bytes']:,} bytes, SHA-256 {card['sha256']}")


@command(app, show=_kept)
def checkpoints(paper: MaybeSlug = None) -> Iterator[dict[str, Any]]:
    """The weights that are kept: network, data, metric, hash."""
    from shared.paper import load_paper, papers
    from shared.weights.card import cards, headline

    for slug in [load_paper(paper).slug] if paper else papers():
        for card in cards(slug):
            metric = headline(card.metrics)
            told = card.model_dump(include={"model", "args", "data", "bytes", "sha256"})
            yield {"checkpoint": card.ref, "metric": metric, "value": card.metrics[metric], **told}


def _verified(checks: list[Any]) -> None:
    results = Counter(check.result for check in checks)
    told = ", ".join(f"{results[result]} {result}" for result in ("ok", "skipped", "failed"))
    print(f"{len({check.checkpoint for check in checks})} checkpoints and records, {len(checks)} checks: {told}")


@command(
    app,
    show=lambda check: print(f"{check.result:8}{check.checkpoint}: {check.check}: {check.detail}", flush=True),
    failed=lambda check: check.result == "failed",
    end=_verified,
)
def verify(
    what: MaybeReference = None,
    every: Annotated[bool, typer.Option("--all", help="Every paper; so does no argument.")] = False,
    again: Annotated[bool, typer.Option("--rerun", help="Make the runs of records again, and compare.")] = False,
) -> Iterator[Any]:
    """Check checkpoints and records: hash, counts, logits, metric."""
    if every and what:
        raise UsageError("give either a paper or a checkpoint, or --all")
    if again and not what:
        raise UsageError("--rerun: give a paper, a checkpoint, or SLUG/PROTOCOL/ARM/SEED")
    from shared.checkpoints.rerun import rerun
    from shared.checkpoints.verify import verify

    return rerun(what) if again and what else verify(what)


def _made(found: dict[str, list[str]]) -> None:
    print_lines(found["tags"])
    print(f"made {len(found['tags'])} tags here; `git push --tags` publishes them, `git tag -d TAG` takes one back")


@command(app, show=_made)
def release(version: Annotated[str, typer.Argument(help="Such as v1.0.0.")]) -> dict[str, list[str]]:
    """Make the tags that cite kept checkpoints, all in one go."""
    from shared.checkpoints.release import release

    return {"tags": release(version)}


def _exported(found: dict[str, Any]) -> None:
    batches = ", ".join(map(str, found["batches"]))
    print(
        f"{found['out']}: {found['format']}, outputs equal within {found['largest_difference']:.1e} at batches of "
        f"{batches} (float32 itself errs by {found['own_error']:.1e})"
    )


@command(app, show=_exported)
def export(
    checkpoint: Reference,
    out: Annotated[Path, typer.Option(help="The file to write: .onnx, or .pt2 for a torch.export program.")],
    form: Annotated[Literal["onnx", "torch"] | None, typer.Option("--format", help="What the suffix says.")] = None,
) -> dict[str, Any]:
    """Write a checkpoint as ONNX or torch.export, compared."""
    from shared.checkpoints.export import BATCHES, export

    made = export(checkpoint, out, form)
    return {
        "out": str(out),
        "format": made.form,
        "batches": list(BATCHES),
        "largest_difference": made.difference,
        "error": made.error,
        "own_error": made.own_error,
    }


@command(app, "import")
def import_(
    paper: Slug,
    source: Annotated[Path, typer.Argument(help="Published weights: .pth or .safetensors.")],
    model: Annotated[str, typer.Option(help="The builder they belong to.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    classes: Annotated[int, Classes] = 1000,
    settings: Settings = [],  # noqa: B006  (typer copies it)
) -> dict[str, Any]:
    """Convert weights that others published to our names."""
    from shared.paper import load_paper
    from shared.weights.convert import convert

    return convert(load_paper(paper).slug, source, model, settings_of(settings), classes, out)


@command(app)
def accuracy(
    paper: Slug,
    model: str,
    weights: Annotated[Path, typer.Option(help="A safetensors file, as `papertrail import` writes it.")],
    data: Annotated[str, typer.Option(help="The data set whose test split is used.")],
    settings: Settings = [],  # noqa: B006
) -> dict[str, Any]:
    """Accuracy of weights on the test split of a data set."""
    from shared.checkpoints.accuracy import accuracy_of
    from shared.paper import load_paper

    return accuracy_of(load_paper(paper).slug, model, settings_of(settings), weights, data)
