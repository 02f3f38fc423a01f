"""Archives unpacked into the cache: nothing lands outside its folder, and what lies there can be verified later."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from shared.datasets.find import obtain
from shared.datasets.spec import DatasetSpec
from shared.detection.boxes import DetectionSet
from shared.errors import DataError
from shared.files import sha256_file


def reader(spec: DatasetSpec) -> DetectionSet:
    """A set that comes in one archive."""
    return DetectionSet(spec, functools.partial(make, spec), digest)


def make(spec: DatasetSpec, folder: Path) -> None:
    """Unpack the set's archive into an empty folder."""
    unpack(obtain(spec, spec.files[0]), folder)


def unpack(archive: Path, target: Path, names: dict[str, str] | None = None) -> None:
    """Unpack the plain files of a tar file into `target`.

    Args:
        archive: every path in it begins with one folder, which is left out.
        target: an existing folder.
        names: the files wanted, without that folder, and the paths that they get; all, under their own, when not given.

    Raises:
        DataError: the archive is damaged, lacks a wanted file, or names a path outside the folder.
    """
    wanted = dict(names) if names is not None else None
    try:
        with tarfile.open(archive) as packed:
            for member in packed:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
                    raise DataError(
                        f"{archive}: holds {member.name}, which is no file inside its folder; do not use it"
                    )
                inner = str(PurePosixPath(*path.parts[1:]))
                stream = packed.extractfile(member)
                if stream is None or (wanted is not None and inner not in wanted):
                    continue
                file = target / (inner if wanted is None else wanted.pop(inner))
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("wb") as out:
                    shutil.copyfileobj(stream, out)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive}: truncated or no tar file ({error}); get it again") from error
    if wanted:
        raise DataError(f"{archive}: lacks {min(wanted)} and {len(wanted) - 1} more; get it again")


def digest(folder: Path) -> str:
    """SHA-256 over the files of a folder: of each, in the order of the paths, its path and the SHA-256 of its bytes."""
    total = hashlib.sha256()
    for path in sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()):
        total.update(f"{path} {sha256_file(folder / path)}\n".encode())
    return total.hexdigest()
