"""The repository itself: its data, a new paper, the pipelines, this machine, the benchmarks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from shared.console import command, print_lines, print_rows
from shared.errors import UsageError

app = typer.Typer()


def _data(found: dict[str, Any]) -> None:
    if "here" in found:
        print(f"{found['name']:18}{'here' if found['here'] else 'not here':10}{found['title']}")
    else:
        print_rows({key: value for key, value in found.items() if key not in ("files", "bibtex")})


@command(app, show=_data)
def data(
    name: Annotated[str | None, typer.Argument(metavar="[SET]")] = None,
    look: Annotated[bool, typer.Option("--look", help="Describe only: fetch and verify nothing.")] = False,
) -> Any:
    """Fetch, verify and describe a data set, or list them all."""
    from shared import datasets

    if name is None:
        known = map(datasets.describe, datasets.names())
        return ({"name": one["name"], "title": one["title"], "here": not one["missing"]} for one in known)
    return datasets.describe(name) if look else datasets.prepare(name)


def _new(found: dict[str, Any]) -> None:
    print_lines(found["files"])
    print("\nfill in every <<...>>; after each change of recipes or imports: papertrail sync")
    print(f"then: dvc repro papers/{found['slug']} && pytest tests/test_papers.py -k {found['slug']}")


@command(app, show=_new)
def new(
    slug: Annotated[str, typer.Argument(help="Small letters, digits and underscores.")],
    method: Annotated[bool, typer.Option("--method", help="With a method.py: the paper changes training.")] = False,
) -> dict[str, Any]:
    """Scaffold a paper, with what is to be filled in marked."""
    from shared.scaffold import new

    return {"slug": slug, "files": new(slug, method=method)}


def _sync(found: dict[str, list[str]]) -> None:
    lines = [f"{kind}: {name}" for kind, names in found.items() for name in names]
    print_lines(lines or ["every dvc.yaml is up to date"])


@command(app, show=_sync, failed=lambda found: bool(found["stale"]))
def sync(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; status 1 when something is stale.")] = False,
) -> dict[str, list[str]]:
    """Write every dvc.yaml from recipes, papers and imports."""
    from shared.sync import sync

    found = sync(check=check)
    return {"written": [] if check else found, "stale": found if check else []}


def _finding(finding: Any) -> None:
    remedy = f"\n    {finding.remedy}" if finding.remedy else ""
    print(f"{finding.state:>8}  {finding.part}: {finding.detail}{remedy}")


@command(app, show=_finding, anywhere=True, failed=lambda finding: finding.state == "missing")
def doctor() -> Iterator[Any]:
    """What this machine lacks, and the command that mends it; status 1 when something is missing."""
    from shared.doctor import examine

    return examine()


def _benchmark(result: dict[str, Any]) -> None:
    _runner().show(result)


@command(app, show=_benchmark)
def bench(names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None) -> Iterator[dict[str, Any]]:
    """Measure core, pipeline and networks side by side."""
    yield from _runner().run(names or [])


def _runner() -> Any:
    """tests/benchmarks/runner.py, which is not installed with the package."""
    import importlib

    from shared.files import ROOT

    folder = ROOT / "tests" / "benchmarks"
    if not (folder / "runner.py").exists():
        raise UsageError(f"{folder}: not here; `papertrail bench` needs a checkout of the repository")
    sys.path.insert(0, str(ROOT))
    return importlib.import_module("tests.benchmarks.runner")
