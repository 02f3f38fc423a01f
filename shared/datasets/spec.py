"""What a data set is: its source, its terms, its counts, and the two tensors of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from shared.errors import DataError

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")


@dataclass(frozen=True)
class SourceFile:
    """A file that must be found and verified before anything is read from it.

    `sha256` is the pinned hash, or `md5` where only the publisher's own is known; a file without `url` is not fetched.
    `size` is in bytes, where it is known.
    """

    name: str
    sha256: str | None = None
    md5: str | None = None
    url: str | None = None
    size: int | None = None

    @property
    def pin(self) -> str:
        """The pinned hash with its algorithm, such as "sha256:270769f5..."."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}"


@dataclass(frozen=True)
class DatasetSpec:
    """A data set as the project uses it.

    `shape` is (C, H, W), the usual crop when the images differ in size. `mean` and `std` are per channel, in 0..1
    units, of the training split (`note` says when they are not). `obtain` tells a person how to get what is missing.
    `digest` identifies the content when several sources must agree on it; the fingerprint is then that of the digest
    and not of the files.
    """

    name: str
    title: str
    classes: int
    shape: tuple[int, int, int]
    counts: dict[str, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    licence: str
    files: tuple[SourceFile, ...]
    obtain: str
    bibtex: str
    note: str
    leakage: str
    digest: str | None = None
    labels: tuple[str, ...] = field(default=(), repr=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the pinned hashes: the "data hash" that cards carry."""
        pins = [f"digest {self.digest}"] if self.digest else [f"{file.name} {file.pin}" for file in self.files]
        return hashlib.sha256("\n".join([self.name, *pins]).encode()).hexdigest()

    def describe(self, located: Mapping[str, Path | None]) -> dict[str, Any]:
        """What the set is, and by the names of its sources where they are on this machine, or None."""
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "licence": self.licence,
            "classes": self.classes,
            "shape": list(self.shape),
            "counts": self.counts,
            "fingerprint": self.fingerprint,
            "files": [asdict(file) for file in self.files],
            "found": {place: str(path) for place, path in located.items() if path},
            "missing": [place for place, path in located.items() if path is None],
            "obtain": self.obtain,
            "note": self.note,
            "leakage": self.leakage,
            "bibtex": self.bibtex,
        }


@dataclass(frozen=True)
class Split:
    """One split in memory: `images` uint8 (N, C, H, W) and `labels` int64 (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def check_split(spec: DatasetSpec, split: str, data: Split, where: str) -> Split:
    """Return `data` when it is what `spec` promises; DataError names `where` (a file) and what is wrong with it."""
    check_labels(spec, split, data.labels, where)
    shape, kind = tuple(data.images.shape[1:]), data.images.dtype
    if kind != torch.uint8 or shape != spec.shape:
        raise DataError(f"{where}: images are {kind} {shape}, not uint8 {spec.shape}; {spec.obtain}")
    if len(data.images) != len(data.labels):
        raise DataError(f"{where}: {len(data.images)} images but {len(data.labels)} labels; {spec.obtain}")
    return data


def check_labels(spec: DatasetSpec, split: str, labels: Tensor, where: str) -> None:
    """DataError when the split is empty, a label is out of range, a class is missing or the count is wrong."""
    remedy = spec.obtain
    if len(labels) == 0:
        raise DataError(f"{where}: the {split} split of {spec.name} is empty; {remedy}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= spec.classes:
        wrong = low if low < 0 else high
        raise DataError(f"{where}: label {wrong} is outside 0..{spec.classes - 1}; {remedy}")
    absent = (torch.bincount(labels, minlength=spec.classes) == 0).nonzero().flatten().tolist()
    if absent:
        shown = ", ".join(spec.labels[i] if spec.labels else str(i) for i in absent[:5])
        raise DataError(f"{where}: the {split} split of {spec.name} has no image of class {shown}; {remedy}")
    if len(labels) != spec.counts[split]:
        raise DataError(f"{where}: {len(labels)} {split} samples, {spec.name} has {spec.counts[split]}; {remedy}")
