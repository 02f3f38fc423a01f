"""The verdicts of a paper as they are known: verdicts.json, unless anything that they were judged from has changed.

What they were judged from DVC has locked: dvc.lock has the hash of all that the stage `papers/<slug>` depends on, code
and environment included, and of the verdicts.json that it wrote.
"""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from shared.errors import NotInstalled
from shared.files import ROOT, read_json, read_text
from shared.ledger.entry import Entry
from shared.plain_yaml import parse_yaml


def verdicts(slug: str) -> list[Entry]:
    """Every claim of a paper with its verdict, judged anew where anything is not as it was judged.

    Raises:
        NotInstalled: what judging it anew needs.
        PapertrailError: see `judge`.
    """
    different = changed(slug)
    if not different:
        return [Entry(**entry) for entry in read_json(ROOT / "papers" / slug / "verdicts.json")]
    from shared.ledger.judge import judge  # late: it brings PyTorch

    try:
        return judge(slug)
    except NotInstalled as error:
        raise NotInstalled(f"papers/{slug}: {different[0]} is not as it was when this was judged; {error}") from error


def changed(slug: str) -> list[str]:
    """Of what the verdicts of a paper were judged from, and of themselves, the files and folders that differ now.

    The runs of a machine and the notebook are left out: they decide nothing.
    """
    lock = ROOT / "dvc.lock"
    stage = (_stages(read_text(lock)) if lock.exists() else {}).get(f"papers/{slug}")
    if stage is None:
        return [lock.name]
    deciding = [one for one in stage["deps"] if not one["path"].startswith(("notebooks/", f"papers/{slug}/runs/"))]
    return [one["path"] for one in [*deciding, *stage["outs"]] if _md5(ROOT / one["path"]) != one["md5"]]


@functools.lru_cache(maxsize=1)
def _stages(lock: str) -> dict[str, Any]:
    """The stages of a dvc.lock, which every paper asks for."""
    stages: dict[str, Any] = parse_yaml(lock, "dvc.lock")["stages"]
    return stages


def _md5(path: Path) -> str | None:
    """The hash of a file or a folder, as dvc.lock has it; None where there is none."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
        return f"{_digest(json.dumps(listed, sort_keys=True).encode())}.dir"
    return _digest(path.read_bytes()) if path.exists() else None


def _digest(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
