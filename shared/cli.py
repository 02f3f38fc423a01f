"""The command `papertrail`. Everything heavy is imported inside the commands: `--help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shared.console import Json, Settings, Slug, print_json, print_rows, settings_of, shape_of
from shared.errors import UsageError, exit_status

app = typer.Typer(
    help="Efficient-vision papers, replicated number by number, with the evidence.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line: status 0, 1 when a check fails or something is wrong, 2 on wrong usage."""
    sys.exit(exit_status(lambda: app(prog_name="papertrail")))


@app.command("papers")
def list_papers(as_json: Json = False) -> None:
    """Every paper: claims and verdicts, one line each."""
    from collections import Counter

    from shared.ledger import VERDICTS, judge
    from shared.paper import load_paper, papers

    rows: list[dict[str, Any]] = []
    for slug in papers():
        verdicts = Counter(entry.verdict for entry in judge(slug))
        found = {verdict: verdicts[verdict] for verdict in VERDICTS if verdicts[verdict]}
        rows.append({"paper": slug, "title": load_paper(slug).title, "claims": verdicts.total(), "verdicts": found})
    if as_json:
        return print_json(rows)
    for row in rows:
        counts = ", ".join(f"{number} {verdict}" for verdict, number in row["verdicts"].items())
        print(f"{row['paper']}: {row['title']}. {row['claims']} claims: {counts}")


@app.command()
def models(paper: Slug, as_json: Json = False) -> None:
    """The models that a paper can build, with their arguments."""
    import inspect

    from shared.builders import models

    _package(paper)
    rows: list[dict[str, Any]] = []
    for name, model in models(paper).items():
        defaults = {key: parameter.default for key, parameter in inspect.signature(model.build).parameters.items()}
        arguments = {key: value for key, value in defaults.items() if isinstance(value, bool | int | float | str)}
        rows.append({"model": name, "input": list(model.input), "classes": model.classes, "arguments": arguments})
    if as_json:
        return print_json(rows)
    for row in rows:
        print(f"{row['model']}({', '.join(f'{key}={value!r}' for key, value in row['arguments'].items())})")


@app.command()
def count(
    paper: Slug,
    model: str,
    image: Annotated[str | None, typer.Option("--input", metavar="C,H,W", help="The image's shape.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Number of classes.")] = None,
    settings: Settings = [],  # noqa: B006  (typer copies it)
    tool: Annotated[Literal["thop", "mmdetection"] | None, typer.Option(help="Count as this tool does, too.")] = None,
    as_json: Json = False,
) -> None:
    """What a model costs: parameters, MACs, additions."""
    import torch

    from shared.builders import build, find_model
    from shared.measure import count as measured

    _package(paper)
    known = find_model(paper, model)
    shape = shape_of(image) if image else known.input
    args = settings_of(settings)
    with torch.device("meta"):
        network = build(paper, model, args, classes or known.classes, shape[0])
    try:
        found = measured(network, shape)
    except RuntimeError as error:
        size = ",".join(map(str, shape))
        raise UsageError(
            f"--input {size}: `{model}` cannot see such an image ({str(error).splitlines()[0]})"
        ) from error
    row = {
        "paper": paper,
        "model": model,
        "args": args,
        "input": list(shape),
        "classes": classes or known.classes,
        "params": found.params,
        "macs": found.macs,
        "adder_taps": found.adder_taps,
        "multiplications": found.multiplications,
        "additions": found.additions,
        "energy_mj": float(found.energy_mj),
        "activations": found.activations,
    }
    if tool is not None:
        from shared.measure.conventions import operations, parameters

        row[f"{tool}_params"] = parameters(network, tool)
        row[f"{tool}_macs"] = operations(network, shape, tool)
    print_json(row) if as_json else print_rows(row)


@app.command()
def ledger(
    paper: Annotated[str | None, typer.Argument(metavar="[PAPER]")] = None,
    tested: Annotated[bool, typer.Option("--tested", help="Leave out what was not attempted.")] = False,
    as_json: Json = False,
) -> None:
    """Every claim with its verdict."""
    from dataclasses import asdict

    from shared.ledger import judge
    from shared.ledger.show import show
    from shared.paper import load_paper, papers

    entries = [entry for slug in ([load_paper(paper).slug] if paper else papers()) for entry in judge(slug)]
    if not as_json:
        return show(entries, tested_only=tested)
    print_json([asdict(entry) for entry in entries if entry.verdict != "not attempted" or not tested])


@app.command()
def verify(
    checkpoint: Annotated[str | None, typer.Argument(metavar="[PAPER/CHECKPOINT]")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every checkpoint; so does no argument.")] = False,
    as_json: Json = False,
) -> None:
    """Check pinned checkpoints: hash, counts, logits, metric."""
    from shared.checkpoints.verify import verify

    if every and checkpoint:
        raise UsageError("give either a checkpoint or --all")
    checks = []
    for check in verify(checkpoint):
        checks.append(check)
        if not as_json:
            print(f"{check.result:8}{check.checkpoint}: {check.check}: {check.detail}", flush=True)
    if as_json:
        print_json([check.as_dict() for check in checks])
    elif not checks:
        print("no checkpoint is pinned yet")
    if any(check.result == "failed" for check in checks):
        raise typer.Exit(1)


@app.command()
def cite(what: Annotated[str, typer.Argument(metavar="PAPER[/CHECKPOINT]")], as_json: Json = False) -> None:
    """BibTeX of a paper, or of a checkpoint and its data set."""
    from shared.checkpoints.cite import cite

    text = cite(what)
    print_json({"bibtex": text}) if as_json else print(text)


@app.command()
def pin(
    run: Annotated[Path, typer.Argument(help="A run's folder, papers/<slug>/runs/<protocol>/<arm>/seeds/<N>.")],
    name: Annotated[str | None, typer.Argument(help="<arm>-<protocol>-<seed> when left out.")] = None,
    supersedes: Annotated[str | None, typer.Option(help="The checkpoint that this one replaces.")] = None,
    as_json: Json = False,
) -> None:
    """Promote a run to a checkpoint, which never changes."""
    from shared.checkpoints.pin import advice, pin

    card = pin(run, name, supersedes)
    if as_json:
        return print_json({"checkpoint": card.ref, "sha256": card.sha256, "tag": card.tag})
    print(f"pinned {card.ref}, sha256 {card.sha256}\nnow:")
    for command in advice(card):
        print(f"  {command}")


@app.command()
def export(
    checkpoint: Annotated[str, typer.Argument(metavar="PAPER/CHECKPOINT")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    form: Annotated[
        Literal["onnx", "torch"], typer.Option("--format", help="ONNX, or a torch.export program.")
    ] = "onnx",
    as_json: Json = False,
) -> None:
    """Write a checkpoint as ONNX or torch.export, compared."""
    from shared.checkpoints.export import export

    difference = export(checkpoint, out, form)
    if as_json:
        return print_json({"out": str(out), "largest_difference": difference})
    print(f"{out}: logits equal within {difference:.1e}")


@app.command("import")
def import_(
    paper: Slug,
    source: Annotated[Path, typer.Argument(help="Published weights: .pth or .safetensors.")],
    model: Annotated[str, typer.Option(help="The builder they belong to.")],
    out: Annotated[Path, typer.Option(help="The safetensors file to write.")],
    classes: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 1000,
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Convert weights that others published to our names."""
    from shared.checkpoints.convert import convert

    _package(paper)
    found = convert(paper, source, model, settings_of(settings), classes, out)
    print_json(found) if as_json else print_rows(found)


@app.command()
def evaluate(
    paper: Slug,
    model: str,
    weights: Annotated[Path, typer.Option(help="A safetensors file, as `papertrail import` writes it.")],
    data: Annotated[str, typer.Option(help="The data set whose test split is used.")],
    settings: Settings = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Accuracy of weights on the test split of a data set."""
    from shared.checkpoints.evaluate import evaluate

    _package(paper)
    row = evaluate(paper, model, settings_of(settings), weights, data)
    print_json(row) if as_json else print_rows(row)


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(metavar="[SET]")] = None,
    look: Annotated[bool, typer.Option("--look", help="Describe only: fetch and verify nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch, verify and describe a data set, or list them."""
    from shared import datasets
    from shared.detection.sets import SETS

    if name is None:
        names = [*datasets.DATASETS, *SETS]
        return print_json(names) if as_json else print("\n".join(names))
    if name in SETS:
        found = SETS[name].describe() if look else SETS[name].verify()
    else:
        found = datasets.describe(name) if look else datasets.prepare(name)
    if as_json:
        return print_json(found)
    print_rows({key: value for key, value in found.items() if key not in ("files", "bibtex")})


@app.command()
def new(
    slug: Annotated[str, typer.Argument(help="Small letters, digits and underscores.")], as_json: Json = False
) -> None:
    """Scaffold a paper, with what is to be filled in marked."""
    from shared.scaffold import new

    files = [str(path) for path in new(slug)]
    if as_json:
        return print_json({"slug": slug, "files": files})
    print("\n".join(files))
    print(f"\nfill in every <<...>>, then: pytest tests/test_papers.py -k {slug}")


@app.command()
def sync(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; status 1 when something is stale.")] = False,
    as_json: Json = False,
) -> None:
    """Write every DVC stage's deps from the import graph."""
    from shared.sync import sync

    stale = sync(check=check)
    print_json({"stale": stale}) if as_json else print("\n".join(stale) or "every stage's deps are up to date")
    if check and stale:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What this machine lacks, and the command that mends it; status 1 when something is missing."""
    from dataclasses import asdict

    from shared.doctor import examine

    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            remedy = f"\n    {finding.remedy}" if finding.remedy else ""
            print(f"{finding.state:>8}  {finding.part}: {finding.detail}{remedy}")
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.state == "missing" for finding in findings):
        raise typer.Exit(1)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None, as_json: Json = False
) -> None:
    """Measure core, pipeline and networks side by side."""
    from shared.bench import run

    run(names or [], as_json)


def _package(slug: str) -> Any:
    import importlib

    from shared.paper import load_paper

    return importlib.import_module(f"papers.{load_paper(slug).slug}")
