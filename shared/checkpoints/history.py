"""What git says: which commits are in this history, and which tags a release has made."""

from __future__ import annotations

import functools
import subprocess

from shared.files import ROOT


@functools.cache
def commits() -> frozenset[str] | None:
    """Every commit that the checked-out one descends from, and itself; None without git, or in a shallow clone."""
    try:
        if _git("rev-parse", "--is-shallow-repository") == "true":
            return None
        return frozenset(_git("rev-list", "HEAD").split())
    except (OSError, subprocess.CalledProcessError):
        return None


def release_tag(ref: str) -> str | None:
    """The newest tag that a release gave "<slug>/<name>", as `gto` and `dvc artifacts get` read it; None without."""
    slug, _, name = ref.partition("/")
    try:
        tags = _git("tag", "--list", f"papers/{slug}={name}@v*", "--sort=-version:refname").split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return tags[0] if tags else None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
