"""The code of a paper, found by name: its package states MODELS and METHODS, its modules whatever they are for."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path
from types import ModuleType

from shared.errors import NotInstalled, PapertrailError
from shared.files import ROOT


def code_of(slug: str, part: str = "") -> ModuleType | None:
    """A paper's package, or the module `part` of it; None where there is none of that name.

    Raises:
        NotInstalled: it imports a library that is not here.
        PapertrailError: it cannot be imported; the message says in which line of the paper's code, and why.
    """
    name = f"papers.{slug}.{part}".rstrip(".")
    try:
        return importlib.import_module(name)
    except PapertrailError:
        raise
    except Exception as error:  # whatever its code raises
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing == name:
            return None
        if missing and missing.partition(".")[0] not in ("papers", "shared"):
            raise NotInstalled(f"papers/{slug}: {error}; `papertrail doctor` says how to get it") from error
        raise PapertrailError(f"{_place(error, slug)}: {type(error).__name__}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error says first; PyTorch's go on with pages of frames."""
    return str(error).partition("\n")[0]


def _place(error: Exception, slug: str) -> str:
    """File and line of the paper that importing it came to."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    folder = ROOT / "papers" / slug
    lines = [one for one in traceback.extract_tb(error.__traceback__) if Path(one.filename).is_relative_to(folder)]
    return f"{lines[-1].filename}, line {lines[-1].lineno}" if lines else str(folder)
