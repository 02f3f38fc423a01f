"""What a data set is, as data/<set>/set.yaml states it, and the two tensors of a split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from shared.errors import DataError
from shared.schema import Strict

if TYPE_CHECKING:  # what a set is, is told without PyTorch
    from torch import Tensor

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class SourceFile(Strict):
    """A file that must be found and verified before anything is read from it.

    `sha256` is the pinned hash, or `md5` where only the publisher's own is known; a file without `url` is not fetched.
    `size` is in bytes, where it is known. `repacked` is the SHA-256 of the same content compressed again, as a
    distribution's package has it.
    """

    name: str
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    url: str | None = None
    size: PositiveInt | None = None
    repacked: Sha256 | None = None

    @model_validator(mode="after")
    def _pinned(self) -> SourceFile:
        if (self.sha256 is None) == (self.md5 is None):
            raise ValueError("give either `sha256` or `md5`")
        return self

    @property
    def pin(self) -> str:
        """The pinned hash with its algorithm, such as "sha256:270769f5..."."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}"


class BoxSplit(Strict):
    """The files of a split with boxes, by their paths from the set's root.

    `annotations` is COCO's one JSON file, or VOC's lists of names. `images` is the folder with COCO's images; VOC's
    stand beside the lists. `boxes` counts the objects, ignored ones too; None where we have not seen the files
    ourselves.
    """

    annotations: tuple[str, ...]
    images: str = ""
    boxes: int | None = None


class Boxes(Strict):
    """How a set with boxes lies on the disk.

    Attributes:
        layout: whose files, and whose metric.
        root: the folder by which the set's root is known: the root holds it.
        home: for a set that is made here: the data/<home>/raw that it is made in.
        splits: the files of each split.
        flat: COCO annotations of the official files that have no area; they are left out.
    """

    layout: Literal["coco", "voc"]
    root: str
    home: str | None = None
    splits: dict[SplitName, BoxSplit]
    flat: frozenset[int] = frozenset()


class DatasetSpec(Strict):
    """A data set as the project uses it: its folder's name, and what its set.yaml says.

    `reader` is the module that reads it, `shape` is (C, H, W), the usual crop when the images differ in size (`fixed`
    is then false). `mean` and `std` are per channel, in 0..1 units, of the training split (`note` says when they are
    not). `obtain` tells a person how to get what is missing. `digest` identifies the content when several sources must
    agree on it; the fingerprint is then that of the digest and not of the files. `boxes` is there when objects are
    annotated.
    """

    name: str
    title: str
    reader: str
    classes: PositiveInt
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    fixed: bool = True
    counts: dict[SplitName, PositiveInt]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str
    terms: str
    files: tuple[SourceFile, ...]
    obtain: str
    note: str
    leakage: str
    bibtex: str
    digest: Sha256 | None = None
    labels: tuple[str, ...] = Field(default=(), repr=False)
    boxes: Boxes | None = None

    @model_validator(mode="after")
    def _consistent(self) -> DatasetSpec:
        if set(self.counts) != set(SPLITS) or (self.boxes and set(self.boxes.splits) != set(SPLITS)):
            raise ValueError("both splits, `train` and `test`, are to be stated")
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise ValueError("`mean` and `std` need one number for each channel of `shape`")
        if self.labels and len(set(self.labels)) != self.classes:
            raise ValueError(f"`labels` are {len(set(self.labels))} different names for {self.classes} classes")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the pinned hashes: the "data hash" that plans and cards carry."""
        pins = [f"digest {self.digest}"] if self.digest else [f"{file.name} {file.pin}" for file in self.files]
        return hashlib.sha256("\n".join([self.name, *pins]).encode()).hexdigest()

    def describe(self, located: Mapping[str, Path | None]) -> dict[str, Any]:
        """What the set is, and by the names of its sources where they are on this machine, or None."""
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "terms": self.terms,
            "classes": self.classes,
            "shape": list(self.shape),
            "counts": self.counts,
            **({"layout": self.boxes.layout} if self.boxes else {}),
            "fingerprint": self.fingerprint,
            "files": [file.model_dump() for file in self.files],
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


def check_split(spec: DatasetSpec, split: SplitName, data: Split, where: str) -> Split:
    """Return `data` when it is what `spec` promises; DataError names `where` (a file) and what is wrong with it."""
    import torch

    check_labels(spec, split, data.labels, where)
    shape, kind = tuple(data.images.shape[1:]), data.images.dtype
    if kind != torch.uint8 or shape != spec.shape:
        raise DataError(f"{where}: images are {kind} {shape}, not uint8 {spec.shape}; {spec.obtain}")
    if len(data.images) != len(data.labels):
        raise DataError(f"{where}: {len(data.images)} images but {len(data.labels)} labels; {spec.obtain}")
    return data


def check_labels(spec: DatasetSpec, split: SplitName, labels: Tensor, where: str) -> None:
    """DataError when the split is empty, a label is out of range, a class is missing or the count is wrong."""
    remedy = spec.obtain
    if len(labels) == 0:
        raise DataError(f"{where}: the {split} split of {spec.name} is empty; {remedy}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= spec.classes:
        wrong = low if low < 0 else high
        raise DataError(f"{where}: label {wrong} is outside 0..{spec.classes - 1}; {remedy}")
    absent = (labels.bincount(minlength=spec.classes) == 0).nonzero().flatten().tolist()
    if absent:
        shown = ", ".join(spec.labels[i] if spec.labels else str(i) for i in absent[:5])
        raise DataError(f"{where}: the {split} split of {spec.name} has no image of class {shown}; {remedy}")
    if len(labels) != spec.counts[split]:
        raise DataError(f"{where}: {len(labels)} {split} samples, {spec.name} has {spec.counts[split]}; {remedy}")
