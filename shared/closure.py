"""What a module imports, file by file, and a digest of it: which code can change a result.

The import graph is read (by grimp) without importing anything. What the code finds by name alone, such as the package
of a paper, is to be among the modules that the question starts from.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grimp

from shared.errors import PapertrailError
from shared.files import ROOT, lock_hash


def imported(starts: Iterable[str]) -> tuple[str, ...]:
    """The files, relative to the root, that importing these modules runs, in alphabetical order."""
    graph = _graph()
    found: set[str] = set()
    for start in starts:
        if start not in graph.modules:
            raise PapertrailError(f"{ROOT / _file(start)}: no such file")
        for name in {start, *graph.find_upstream_modules(start)}:
            found |= {name, *_packages(name)}
    return tuple(sorted(str(_file(name)) for name in found))


def digest(starts: Iterable[str]) -> str:
    """SHA-256 over what these modules import and over the lock: equal ones give equal runs on an equal machine.

    Of a file its syntax tree counts, without docstrings, so that a comment, a sentence or a line break changes nothing.
    Versions of Python differ in which empty fields a tree has, so that none counts: a run that was made under one is
    recognised under another.
    """
    whole = hashlib.sha256(lock_hash().encode())
    for name in imported(starts):
        whole.update(f"{name} {_tree(ROOT / name)}\n".encode())
    return whole.hexdigest()


@functools.cache
def _tree(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            del node.body[0]
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()


def _plain(node: Any) -> Any:
    """A syntax tree as tuples and lists of its names and constants, without fields that are empty."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return (type(node).__name__, *(field for field in fields if field[1] not in (None, [])))
    return [_plain(one) for one in node] if isinstance(node, list) else node


@functools.cache
def _graph() -> Any:
    # What is imported for the type checker alone never runs.
    try:
        return grimp.build_graph("shared", "papers", cache_dir=None, exclude_type_checking_imports=True)
    except grimp.exceptions.SourceSyntaxError as error:
        raise PapertrailError(f"{error.filename}, line {error.lineno}: no valid Python: {error.text}") from error


def _packages(module: str) -> set[str]:
    """Importing a module runs the packages that hold it."""
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts))}


def _file(module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")
