"""What git says: which commits are in this history, which tags a release has made, and where it all is published."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

from shared.files import ROOT

# https://host/path, ssh://user@host:port/path, user@host:path; with or without ".git".
ADDRESS = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/]*@)?|[^@/:]+@)(?P<host>[^/:]+)(?::\d+)?[/:](?P<path>.+?)(?:\.git)?/?"
)


@functools.cache
def commits() -> frozenset[str] | None:
    """Every commit that the checked-out one descends from, and itself; None without git, or in a shallow clone."""
    listed = _git("rev-list", "HEAD") if _git("rev-parse", "--is-shallow-repository") == "false" else None
    return None if listed is None else frozenset(listed.split())


def release_tag(ref: str) -> str | None:
    """The newest tag that a release gave "<slug>/<name>", as `gto` and `dvc artifacts get` read it; None without."""
    slug, _, name = ref.partition("/")
    tags = _git("tag", "--list", f"papers/{slug}={name}@v*", "--sort=-version:refname")
    return tags.split()[0] if tags else None


def last_commit(file: Path) -> str | None:
    """The commit that made a file what it is; None when none did, or without git."""
    if _git("status", "--porcelain", "--", str(file)) != "":
        return None
    return _git("log", "-1", "--format=%H", "--", str(file)) or None


def address() -> str | None:
    """Where the repository that this one is a clone of is on the web, without credentials; None where it is not."""
    found = ADDRESS.fullmatch(_git("remote", "get-url", "origin") or "")
    return found and f"https://{found['host']}/{found['path']}"


def _git(*arguments: str) -> str | None:
    """What git answers; None without git, or where it refuses."""
    try:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
