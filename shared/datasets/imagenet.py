"""ImageNet (ILSVRC 2012) from a folder of JPEGs."""

from __future__ import annotations

from pathlib import Path

import torch

from shared.datasets.encoded import Images, streamed
from shared.datasets.find import folders
from shared.datasets.image_set import ImageSet
from shared.datasets.order import round_robin
from shared.datasets.spec import DatasetSpec, SplitName, check_labels
from shared.errors import DataError
from shared.files import ROOT

WNIDS = ROOT / "data" / "imagenet" / "wnids.txt"
SUFFIXES = {".jpg", ".jpeg"}


def reader(spec: DatasetSpec) -> ImageSet:
    """The JPEGs, decoded as they are used."""
    return ImageSet(spec, images, streamed, locate)


def wnids() -> list[str]:
    """The 1,000 WordNet ids in label order, which is alphabetical."""
    return WNIDS.read_text(encoding="utf-8").split()


def locate(spec: DatasetSpec) -> dict[str, Path | None]:
    """Where the folders of the two splits are."""
    return {name: _folder(spec, name) for name in ("train", "val")}


def _folder(spec: DatasetSpec, name: str) -> Path | None:
    roots = [root / "imagenet" if root.name != "imagenet" else root for root in folders(spec)]
    return next((root / name for root in roots if (root / name).is_dir()), None)


def images(spec: DatasetSpec, split: SplitName) -> Images:
    """The JPEGs of a split, dealt round-robin over the classes."""
    name = "train" if split == "train" else "val"
    folder = _folder(spec, name)
    if folder is None:
        raise DataError(f"imagenet/{name}: no such folder; {spec.obtain}")
    return folder_images(spec, split, folder, wnids())


def folder_images(spec: DatasetSpec, split: SplitName, folder: Path, classes: list[str]) -> Images:
    """The JPEGs under `folder`/<class>/; DataError names a class without a folder or without images."""
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            raise DataError(f"{folder / name}: no such folder: class {label} is missing; {spec.obtain}")
        found = sorted(str(file) for file in (folder / name).iterdir() if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{folder / name}: holds no JPEG: class {label} is missing; {spec.obtain}")
        files += found
        labels += [label] * len(found)
    numbers = torch.tensor(labels, dtype=torch.int64)
    check_labels(spec, split, numbers, str(folder))
    order = round_robin(numbers)
    dealt = [files[i] for i in order.tolist()]
    return Images(dealt, dealt, numbers[order])
