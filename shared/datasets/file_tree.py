"""The files of a folder, or of a zip file of it, by their paths inside: the two are read alike."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import DataError


class FileTree:
    """Files by paths such as "train/cat/1.jpg"; the one folder that holds all of a zip file does not count."""

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self.path = path
        self._archive = archive
        self._folders: dict[str, list[str]] = {}
        for name in archive.namelist() if archive else ():
            if not name.endswith("/"):
                folder, _, file = name.partition("/")[2].rpartition("/")
                self._folders.setdefault(folder, []).append(file)
        self._top = archive.namelist()[0].partition("/")[0] if archive and archive.namelist() else ""

    def names(self, folder: str, suffix: str) -> list[str]:
        """The paths of the files in a folder that end in `suffix`; none when there is no such folder."""
        if self._archive:
            found = self._folders.get(folder, [])
        else:
            place = self.path / folder
            found = [file.name for file in place.glob("[!.]*")] if place.is_dir() else []
        return [f"{folder}/{name}" for name in found if name.endswith(suffix)]

    def read(self, name: str) -> bytes:
        """The bytes of a file; DataError names it when it is missing or damaged."""
        try:
            return self._archive.read(f"{self._top}/{name}") if self._archive else (self.path / name).read_bytes()
        except (KeyError, OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.path}: {name}: missing or damaged ({error}); fetch it again") from error


@contextmanager
def opened(path: Path) -> Iterator[FileTree]:
    """The files of a folder or of a zip file; DataError when it is neither."""
    if path.is_dir():
        yield FileTree(path, None)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path}: truncated or no zip file ({error}); download it again") from error
    with archive:
        yield FileTree(path, archive)
