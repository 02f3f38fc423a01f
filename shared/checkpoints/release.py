"""Releases: a tag for each kept checkpoint, under which `dvc artifacts get` finds it; from then on it never changes."""

from __future__ import annotations

import re
import subprocess

from shared.checkpoints.history import release_tag
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT
from shared.paper import load_paper, papers


def release(version: str) -> list[str]:
    """Tag the checked-out commit for every kept checkpoint that has no tag yet; returns the tags.

    UsageError when `version` is not like v1.0.0; PapertrailError when a kept file is not as it is committed, or when
    git refuses.
    """
    if not re.fullmatch(r"v\d+\.\d+\.\d+", version):
        raise UsageError(f"`{version}` is no version; give one like v1.0.0")
    changed = _git("status", "--porcelain", "--untracked-files=all", "--", "papers/*/checkpoints/*")
    if changed:
        raise PapertrailError(f"a tag is of what is committed; commit or restore these first:\n{changed.rstrip()}")
    kept = [f"{slug}/{name}" for slug in papers() for name in load_paper(slug).keep]
    tags = [f"papers/{ref.replace('/', '=')}@{version}" for ref in kept if release_tag(ref) is None]
    for tag in tags:
        _git("tag", "-a", tag, "-m", tag)
    return tags


def _git(*arguments: str) -> str:
    made = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if made.returncode:
        raise PapertrailError(f"git {' '.join(arguments)}: refused ({made.stderr.strip()})")
    return made.stdout
