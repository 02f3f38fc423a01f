"""Tiny-ImageNet-200 from the official archive, its unpacked folder, or a clone of a repository that holds it.

The digest is over the bytes of the JPEGs, not over pixels: what a JPEG decodes to is up to the library. The publisher's
order is that of the folders; here each class is in the order of its files' numbers, and the classes, by their WordNet
ids, are dealt round-robin. The images of the official test split have no labels: the validation split is the test.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from shared.datasets import decoded, file_tree
from shared.datasets.decoded import Encoded
from shared.datasets.file_tree import FileTree
from shared.datasets.find import folders, obtain
from shared.datasets.image_set import ImageSet, in_memory
from shared.datasets.order import round_robin
from shared.datasets.spec import DatasetSpec, Split, SplitName
from shared.errors import DataError

FOLDER = "tiny-imagenet-200"
CLONE = "IMagenet"
ANNOTATIONS = "val/val_annotations.txt"


def reader(spec: DatasetSpec) -> ImageSet:
    """The decoded images, held in memory."""
    return ImageSet(spec, read, in_memory, locate)


def read(spec: DatasetSpec, split: SplitName) -> Split:
    """A split as uint8, 1.2 GB for training; decoded once, then kept."""
    return decoded.read(spec, split, functools.partial(_decode, spec))


def locate(spec: DatasetSpec) -> dict[str, Path | None]:
    """Where the decoded arrays are, else the archive or the folder."""
    return decoded.located(spec, _source(spec), f"{spec.files[0].name} or {FOLDER}")


def _source(spec: DatasetSpec) -> Path | None:
    for folder in folders(spec):
        for name in (spec.files[0].name, FOLDER, f"{CLONE}/{FOLDER}"):
            if (folder / name).exists():
                return folder / name
    return None


def _decode(spec: DatasetSpec) -> dict[SplitName, Split]:
    source = _source(spec)
    if source is None or source.is_file():
        source = obtain(spec, spec.files[0])
    return decoded.from_files(spec, encoded_splits(spec, source), str(source))


def encoded_splits(spec: DatasetSpec, source: Path) -> dict[SplitName, Encoded]:
    """The JPEGs and labels of both splits, in canonical order."""
    with file_tree.opened(source) as files:
        train = [
            (name, label)
            for label, one in enumerate(spec.labels)
            for name in files.names(f"train/{one}/images", ".JPEG")
        ]
        return {"train": _ordered(files, train), "test": _ordered(files, _annotated(spec, files))}


def _annotated(spec: DatasetSpec, files: FileTree) -> list[tuple[str, int]]:
    """The images of the validation split and their labels: lines of a file name, a WordNet id, and a box."""
    number, found = {name: label for label, name in enumerate(spec.labels)}, []
    for line in files.read(ANNOTATIONS).decode().splitlines():
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in number:
            raise DataError(
                f"{files.path}: {ANNOTATIONS}: {wnid!r} is none of the {spec.classes} classes; {spec.obtain}"
            )
        found.append((f"val/images/{name}", number[wnid]))
    return found


def _ordered(files: FileTree, listed: list[tuple[str, int]]) -> Encoded:
    by_number = sorted(listed, key=lambda one: (len(one[0]), one[0]))  # the names of a class differ in a number alone
    order = round_robin(torch.tensor([label for _, label in by_number], dtype=torch.int64)).tolist()
    dealt = [by_number[place] for place in order]
    return [files.read(name) for name, _ in dealt], torch.tensor([label for _, label in dealt], dtype=torch.int64)
