"""Where the files of a data set are looked for, and the check that they are the pinned ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from shared.datasets.spec import DatasetSpec, SourceFile
from shared.errors import DataError
from shared.files import ROOT


def data_root() -> Path | None:
    """The folder that PAPERTRAIL_DATA names; DataError when it is set but is no folder."""
    value = os.environ.get("PAPERTRAIL_DATA")
    if not value:
        return None
    if not Path(value).is_dir():
        raise DataError(f"PAPERTRAIL_DATA={value}: no such folder; correct or unset the variable")
    return Path(value)


def raw_folder(name: str) -> Path:
    """Where downloads and prepared files of a set are kept, out of git: data/<set>/raw."""
    return ROOT / "data" / name / "raw"


def folders(spec: DatasetSpec) -> Iterator[Path]:
    """The folders that may hold a set's files, the first hit wins."""
    if root := data_root():
        yield root
        yield root / spec.name
    yield raw_folder(spec.name)


def hash_file(path: Path, algorithm: str) -> str:
    """The hash of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def verify(path: Path, file: SourceFile, spec: DatasetSpec) -> Path:
    """Return `path` when its size and hash are the pinned ones; DataError names the file otherwise."""
    remedy = f"delete it, then: {spec.obtain}"
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        word = "truncated" if size < file.size else "too long"
        raise DataError(f"{path}: {word}: {size} bytes, expected {file.size}; {remedy}")
    algorithm, expected = file.pin.split(":")
    found = hash_file(path, algorithm)
    if found != expected:
        raise DataError(f"{path}: {algorithm} is {found}, expected {expected}; {remedy}")
    return path


def find(spec: DatasetSpec, file: SourceFile) -> Path | None:
    """The path of a source file that is here, not yet verified; None when it is not here."""
    return next((folder / file.name for folder in folders(spec) if (folder / file.name).is_file()), None)


def obtain(spec: DatasetSpec, file: SourceFile) -> Path:
    """The verified path of a source file: found here, or downloaded to data/<set>/raw when it has an address.

    DataError names the file and the remedy when it is absent, truncated or not the pinned one.
    """
    path = find(spec, file)
    if path is not None:
        return verify(path, file, spec)
    if file.url is None:
        raise DataError(f"{file.name}: not found; {spec.obtain}")
    return download(spec, file)


def download(spec: DatasetSpec, file: SourceFile) -> Path:
    """Fetch a source file to data/<set>/raw; it takes its name only when its hash is the pinned one."""
    import pooch

    folder = raw_folder(spec.name)
    try:
        return Path(pooch.retrieve(file.url, known_hash=file.pin, fname=file.name, path=folder))
    except ValueError as error:
        raise DataError(
            f"{file.name}: what {file.url} gives has not the pinned hash {file.pin}; {spec.obtain}"
        ) from error
    except OSError as error:
        reason = f"could not be fetched from {file.url} ({type(error).__name__})"
        raise DataError(
            f"{file.name}: {reason}; put it into {folder} or into the folder that PAPERTRAIL_DATA names"
        ) from error
