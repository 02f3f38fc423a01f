"""Files: where the repository is, hashes, and writing that leaves nothing half-written."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from shared.errors import PapertrailError
from shared.plain_yaml import parse_yaml

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "mmcv.lock")  # mmcv is compiled against the torch of the other


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` that takes its name only when the block ends well.

    `mode` is "w" (text, UTF-8) or "wb". A full or read-only folder raises PapertrailError and leaves `path` as it was.
    """
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, mode, encoding=None if "b" in mode else "utf-8") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp makes files private; these are to be shared like any other
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise PapertrailError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in one step."""
    with atomic_write(path) as stream:
        stream.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` in one step."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_text(path: Path) -> str:
    """The text of a file; PapertrailError names the file when it is missing, cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PapertrailError(f"{path}: no such file") from error
    except OSError as error:
        raise PapertrailError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise PapertrailError(f"{path}: not UTF-8 ({error})") from error


def read_json(path: Path) -> Any:
    """The value of a JSON file; PapertrailError names the file when it is missing or not JSON."""
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise PapertrailError(
            f"{path}: not valid JSON ({error}); restore it, or delete it and run what wrote it"
        ) from error


def read_yaml(path: Path) -> Any:
    """The value of a YAML file; PapertrailError names the file, and the line and key of what is wrong."""
    return parse_yaml(read_text(path), str(path))


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def git_commit() -> str:
    """The commit that is checked out: 40 hexadecimal digits, with "-dirty" when sources differ or are not in it."""
    try:
        commit = _git("rev-parse", "HEAD")
        sources = ("*.py", "*/params.yaml", *LOCKS)
        changed = _git("status", "--porcelain", "--untracked-files=all", "--", *sources)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def in_checkout() -> bool:
    """Whether this code stands in the repository, with its papers and data, or was installed without them."""
    return (ROOT / "pyproject.toml").exists()


def slug_of(text: str) -> str:
    """The paper that a command line names: by its slug, or by a path that leads into its folder from where we are.

    "papers/<slug>" is understood everywhere. What names no paper is left as it is.
    """
    papers, here = ROOT / "papers", Path(text).resolve()
    if here != papers and here.is_relative_to(papers) and here.exists():
        return here.relative_to(papers).parts[0]
    return text.removeprefix("papers/").rstrip("/")


def lock_hash() -> str:
    """The SHA-256 over both locks: which environment made a run."""
    return hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in LOCKS)).hexdigest()


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
