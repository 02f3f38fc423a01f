"""`papertrail new SLUG`: a paper's folder from the template, marked where it must be filled in.

`papertrail sync` writes its pipeline.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from shared.errors import UsageError
from shared.files import ROOT, write_text

TEMPLATE = Path(__file__).parent / "template"
PLACEHOLDER = re.compile(r"<<[^<>]+>>")


def new(slug: str, *, method: bool = False) -> list[Path]:
    """Write papers/<slug>/; with `method` it has a method.py of its own.

    Returns:
        The files written.

    Raises:
        UsageError: the slug is no Python name, or the paper exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", slug):
        raise UsageError(f"`{slug}` cannot name a Python package: small letters, digits and single underscores")
    folder = ROOT / "papers" / slug
    if folder.exists():
        raise UsageError(f"{folder}: exists already; choose another slug")
    draft = folder.with_name(f".{slug}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for source in [*sorted(TEMPLATE.glob("*.txt")), *(sorted(TEMPLATE.glob("method/*.txt")) if method else [])]:
        write_text(draft / source.stem, source.read_text(encoding="utf-8").replace("@SLUG@", slug))
    for empty in ("checkpoints", "records"):
        write_text(draft / empty / ".gitkeep", "")
    draft.rename(folder)  # the folder appears whole or not at all
    return sorted(path for path in folder.rglob("*") if path.is_file())


def placeholders(slug: str) -> list[str]:
    """What is still to be filled in, as "<file>: <<...>>"."""
    found = []
    for path in sorted((ROOT / "papers" / slug).rglob("*")):
        if path.suffix in (".py", ".yaml", ".md"):
            marks = PLACEHOLDER.findall(path.read_text(encoding="utf-8"))
            found += [f"{path.relative_to(ROOT)}: {mark}" for mark in marks]
    return found
