"""`papertrail new SLUG`: a paper's folder from the template, marked where it must be filled in, and its pipeline."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import sys
from pathlib import Path

from shared.errors import UsageError
from shared.files import ROOT, write_text
from shared.sync import sync

TEMPLATE = Path(__file__).parent / "template"
LONGEST = 40
DEVICES = re.compile("con|prn|aux|nul|(?:com|lpt)[0-9]")  # no folder's name on Windows
PLACEHOLDER = re.compile(r"<<[^<>]+>>")


def new(slug: str, *, method: bool = False) -> list[Path]:
    """Write papers/<slug>/, with a method.py of its own where `method` says so, and its stages into the dvc.yaml files.

    Returns:
        The files written in papers/<slug>.

    Raises:
        UsageError: the slug cannot name a package, or names one already; nothing is written.
    """
    _check(slug)
    folder = ROOT / "papers" / slug
    draft = folder.with_name(f".{slug}.new")
    shutil.rmtree(draft, ignore_errors=True)
    for source in [*sorted(TEMPLATE.glob("*.txt")), *(sorted(TEMPLATE.glob("method/*.txt")) if method else [])]:
        write_text(draft / source.stem, source.read_text(encoding="utf-8").replace("@SLUG@", slug))
    for empty in ("checkpoints", "records"):
        write_text(draft / empty / ".gitkeep", "")
    draft.rename(folder)  # the folder appears whole or not at all
    sync(paper=slug)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check(slug: str) -> None:
    """UsageError, unless the slug can name a package beside all others, on every machine."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", slug) or len(slug) > LONGEST:
        raise UsageError(
            f"`{slug}` cannot name a Python package: small letters, digits and single underscores, at most {LONGEST}"
        )
    if keyword.iskeyword(slug) or keyword.issoftkeyword(slug):
        raise UsageError(f"`{slug}` cannot name a Python package: it is a word of the language; choose another slug")
    if DEVICES.fullmatch(slug):
        raise UsageError(f"`{slug}` cannot name a folder on Windows; choose another slug")
    if slug in sys.stdlib_module_names or (ROOT / slug).exists() or importlib.util.find_spec(slug):
        raise UsageError(f"`{slug}` is a Python package already; choose another slug")
    for folder in (ROOT / "papers").iterdir():
        if folder.name.casefold() == slug:  # one and the same folder on some machines
            raise UsageError(f"{folder}: exists already; choose another slug")


def placeholders(slug: str) -> list[str]:
    """What is still to be filled in, as "<file>: <<...>>"."""
    found = []
    for path in sorted((ROOT / "papers" / slug).rglob("*")):
        if path.suffix in (".py", ".yaml", ".md"):
            marks = PLACEHOLDER.findall(path.read_text(encoding="utf-8"))
            found += [f"{path.relative_to(ROOT)}: {mark}" for mark in marks]
    return found
