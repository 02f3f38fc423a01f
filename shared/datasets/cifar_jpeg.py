"""CIFAR-10 in a lossy form: 60,000 JPEGs, from a packed file or from their public repository.

Both sources hold the same bytes and agree on the order within each class, but not across classes: the repository's
files are train/<class>/NNNN.jpg, the packed file keeps CIFAR-10's original order. The canonical order is therefore
round-robin over the classes (see order.round_robin): airplane 0, automobile 0, ..., truck 0, airplane 1, and so on. The
pinned digest is taken over the JPEG bytes in that order, so that both routes must agree, whatever decodes them.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from shared.datasets import decoded, file_tree
from shared.datasets.decoded import Encoded
from shared.datasets.find import find, folders, verify
from shared.datasets.image_set import ImageSet, in_memory
from shared.datasets.order import round_robin
from shared.datasets.spec import SPLITS, DatasetSpec, Split, SplitName
from shared.errors import DataError

FOLDER = "CIFAR-10-images"


def reader(spec: DatasetSpec) -> ImageSet:
    """The decoded images, held in memory."""
    return ImageSet(spec, read, in_memory, locate)


def read(spec: DatasetSpec, split: SplitName) -> Split:
    """A split as uint8; decoded once, then kept."""
    return decoded.read(spec, split, functools.partial(_decode, spec))


def locate(spec: DatasetSpec) -> dict[str, Path | None]:
    """Where the decoded arrays are, else the JPEGs: the packed file, or the repository's folder or zip."""
    return decoded.located(spec, _source(spec), "JPEGs")


def _decode(spec: DatasetSpec) -> dict[SplitName, Split]:
    where, encoded = encoded_splits(spec)
    return decoded.from_files(spec, encoded, where)


def _source(spec: DatasetSpec) -> Path | None:
    packed = find(spec, spec.files[0])
    if packed is not None:
        return packed
    repository = [folder / FOLDER for folder in folders(spec)]
    zips = [path for folder in folders(spec) for path in sorted(folder.glob(f"{FOLDER}*.zip"))]
    return next((path for path in (*repository, *zips) if path.exists()), None)


def encoded_splits(spec: DatasetSpec) -> tuple[str, dict[SplitName, Encoded]]:
    """Where the JPEGs are, and the splits in canonical order."""
    source, packed = _source(spec), spec.files[0]
    if source is None:
        raise DataError(f"{spec.name}: neither {packed.name} nor {FOLDER} found; {spec.obtain}")
    if source.name == packed.name:
        verify(source, packed, spec)
        found = _from_parquet(source)
    else:
        found = _from_repository(source, spec.labels)
    return str(source), {split: _canonical(*found[split]) for split in SPLITS}


def _canonical(images: list[bytes], labels: torch.Tensor) -> Encoded:
    order = round_robin(labels)
    return [images[i] for i in order.tolist()], labels[order]


def _from_parquet(path: Path) -> dict[SplitName, tuple[list[bytes], torch.Tensor]]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    result: dict[SplitName, tuple[list[bytes], torch.Tensor]] = {}
    for split in SPLITS:
        rows = table.filter(pyarrow.compute.equal(table["split"], split)).sort_by("index")
        result[split] = rows["image"].to_pylist(), torch.from_numpy(rows["label"].to_numpy().astype(np.int64))
    return result


def _from_repository(path: Path, classes: tuple[str, ...]) -> dict[SplitName, tuple[list[bytes], torch.Tensor]]:
    result: dict[SplitName, tuple[list[bytes], torch.Tensor]] = {}
    with file_tree.opened(path) as files:
        for split in SPLITS:
            names = {name: sorted(files.names(f"{split}/{name}", ".jpg")) for name in classes}
            labels = [label for label, name in enumerate(classes) for _ in names[name]]
            images = [files.read(file) for name in classes for file in names[name]]
            result[split] = images, torch.tensor(labels, dtype=torch.int64)
    return result
