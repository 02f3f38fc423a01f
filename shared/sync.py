"""Stage dependencies from the real import graph: which files a stage's command reads as code.

A change to one file of the core is to rerun the stages that import it, and no other. DVC does not follow imports, so
the `deps:` of every stage are written from the import graph (grimp reads it without importing anything).
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import grimp
from ruamel.yaml import YAML

from shared.files import ROOT, atomic_write

MODULE = re.compile(r"python -m (shared(?:\.\w+)*)")
PAPER = re.compile(r"papers/([a-z0-9_]+)")


def sync(*, check: bool = False) -> list[str]:
    """Bring the `deps:` of every stage up to date; with `check` write nothing.

    Returns:
        The stages whose dependencies were not what the import graph says, as "<file>:<stage>".
    """
    changed = []
    for path in [ROOT / "dvc.yaml", *sorted(ROOT.glob("papers/*/dvc.yaml")), *sorted(ROOT.glob("data/*/dvc.yaml"))]:
        yaml = YAML()
        yaml.width = 120
        yaml.indent(mapping=2, sequence=4, offset=2)
        content = yaml.load(path.read_text(encoding="utf-8"))
        stale = []
        for name, stage in (content.get("stages") or {}).items():
            body = stage.get("do", stage)
            wanted = _wanted(body)
            if wanted != list(body["deps"]):
                stale.append(f"{path.relative_to(ROOT)}:{name}")
                del body["deps"][:]
                body["deps"].extend(wanted)
        if stale and not check:
            with atomic_write(path) as stream:
                yaml.dump(content, stream)
        changed += stale
    return changed


def _wanted(stage: Any) -> list[str]:
    """The stage's dependencies: its code from the import graph, then whatever else stands there."""
    found = MODULE.search(stage["cmd"])
    if found is None:
        return list(stage["deps"])
    paper = PAPER.search(stage["cmd"])
    others = [dep for dep in stage["deps"] if not dep.endswith(".py")]
    return [*imported(found[1], paper[1] if paper else None), *others]


@functools.cache
def imported(module: str, paper: str | None) -> tuple[str, ...]:
    """The files, relative to the root, that `python -m module papers/<paper>` imports, in alphabetical order.

    A paper's package and its detectors are imported by the name in the command, and its figures are run as a notebook:
    no import statement shows that.
    """
    graph = _graph()
    runnable = module if f"{module}.__main__" not in graph.modules else f"{module}.__main__"
    starts = {runnable, *_packages(runnable)}
    if paper:
        starts |= {f"papers.{paper}", "papers"}
    if paper and module == "shared.notebook":
        starts.add(f"papers.{paper}.figures")
    if paper and module != "shared.training" and f"papers.{paper}.detectors" in graph.modules:
        starts.add(f"papers.{paper}.detectors")
    found: set[str] = set()
    for start in starts:
        for name in {start, *graph.find_upstream_modules(start)}:
            found |= {name, *_packages(name)}
    return tuple(sorted(str(_file(name)) for name in found))


@functools.cache
def _graph() -> Any:
    return grimp.build_graph("shared", "papers")


def _packages(module: str) -> set[str]:
    """Importing a module runs the packages that hold it."""
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def _file(module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")
