"""What the papers claim, what was found, and what their networks cost: papers, models, count, ledger, cite."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import typer

from shared.console import Classes, MaybeSlug, PaperOrReference, Settings, Slug, command, settings_of, shape_of
from shared.errors import NotInstalled, PapertrailError

app = typer.Typer()


def _paper_line(row: dict[str, Any]) -> None:
    counts = ", ".join(f"{number} {verdict}" for verdict, number in row["verdicts"].items())
    print(f"{row['paper']}: {row['title']}. {row['claims']} claims: {counts}")


@command(app, "papers", show=_paper_line)
def list_papers() -> Iterator[dict[str, Any]]:
    """Every paper: claims and verdicts, one line each."""
    from collections import Counter

    from shared.ledger import VERDICTS

    for paper, entries in _all_judged():
        verdicts = Counter(entry.verdict for entry in entries)
        found = {verdict: verdicts[verdict] for verdict in VERDICTS if verdicts[verdict]}
        yield {"paper": paper.slug, "title": paper.title, "claims": verdicts.total(), "verdicts": found}


def _all_judged() -> Iterator[tuple[Any, list[Any]]]:
    """Every paper with its verdicts; what one needs that is not installed is told in a line, and the others go on.

    PapertrailError, when they are done, says what is wrong with those that are broken.
    """
    from shared.ledger.verdicts import verdicts
    from shared.paper import load_paper, papers

    faults = []
    for slug in papers():
        try:
            yield load_paper(slug), verdicts(slug)
        except NotInstalled as error:
            print(f"papertrail: {error}", file=sys.stderr)
        except PapertrailError as error:
            faults.append(str(error))
    if faults:
        raise PapertrailError("\n".join(faults))


def _model_line(row: dict[str, Any]) -> None:
    print(f"{row['model']}({', '.join(f'{key}={value!r}' for key, value in row['arguments'].items())})")


@command(app, show=_model_line)
def models(paper: Slug) -> Iterator[dict[str, Any]]:
    """The models that a paper can build, with their arguments."""
    import inspect

    from shared.builders import models
    from shared.paper import load_paper

    for name, model in models(load_paper(paper).slug).items():
        defaults = {key: parameter.default for key, parameter in inspect.signature(model.build).parameters.items()}
        arguments = {key: value for key, value in defaults.items() if isinstance(value, bool | int | float | str)}
        yield {"model": name, "input": list(model.input), "classes": model.classes, "arguments": arguments}


@command(app)
def count(
    paper: Slug,
    model: str,
    image: Annotated[str | None, typer.Option("--input", metavar="C,H,W", help="The image's shape.")] = None,
    classes: Annotated[int | None, Classes] = None,
    settings: Settings = [],  # noqa: B006  (typer copies it)
    tool: Annotated[
        Literal["thop", "mmdetection", "mmcv"] | None, typer.Option(help="Count as this tool does, too.")
    ] = None,
) -> dict[str, Any]:
    """What a model costs: parameters, MACs, additions."""
    import torch

    from shared.builders import build, find_model
    from shared.measure import count as measured
    from shared.paper import load_paper

    known = find_model(load_paper(paper).slug, model)
    shape = shape_of(image) if image else known.input
    args = settings_of(settings)
    with torch.device("meta"):
        network = build(paper, model, args, classes or known.classes, shape[0])
    found = measured(network, shape)
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
    return row


def _ledger(entries: list[Any]) -> None:
    from shared.ledger.show import show

    show(entries)


@command(app, show=_ledger, together=True)
def ledger(
    paper: MaybeSlug = None,
    tested: Annotated[bool, typer.Option("--tested", help="Leave out what was not attempted.")] = False,
) -> Iterator[Any]:
    """Every claim with its verdict."""
    from shared.ledger.verdicts import verdicts
    from shared.paper import load_paper

    every = [verdicts(load_paper(paper).slug)] if paper else (entries for _, entries in _all_judged())
    yield from (entry for entries in every for entry in entries if entry.verdict != "not attempted" or not tested)


@command(app, show=lambda found: print(found["bibtex"]))
def cite(what: PaperOrReference) -> dict[str, str]:
    """BibTeX of a paper, or of a checkpoint and its data set."""
    from shared.checkpoints.cite import cite

    return {"bibtex": cite(what)}
