"""Sets that take long to decode: decoded once, then kept as uint8 in data/<set>/raw with hashes of their own.

A set may come in several forms. The digest in its set.yaml is over what all of them carry, in one order, so that they
must agree; it is checked whenever a set is decoded, and what is kept names the digest that it was checked against.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from shared.datasets.encoded import to_tensor
from shared.datasets.find import raw_folder
from shared.datasets.image_file import read_image
from shared.datasets.spec import SPLITS, DatasetSpec, Split, SplitName, check_labels, check_split
from shared.errors import DataError
from shared.files import atomic_write, read_json, write_json

MANY = 2_000  # images, from which on the cores share the work
PIECE = 2**19

Encoded = tuple[Sequence[bytes], Tensor]  # files, and labels int64 (N,)


def kept(spec: DatasetSpec, split: SplitName) -> Path:
    """Where a split is kept, once it was decoded: the images, then the labels, as NumPy writes arrays."""
    return raw_folder(spec.name) / f"decoded-{split}.npy"


def located(spec: DatasetSpec, source: Path | None, what: str) -> dict[str, Path | None]:
    """What is kept, when it is there, otherwise the source, by their names; `what` names a source that is missing."""
    paths = [kept(spec, split) for split in SPLITS]
    if all(path.is_file() for path in paths):
        return {path.name: path for path in paths}
    return {source.name if source else what: source}


def read(spec: DatasetSpec, split: SplitName, decode: Callable[[], Mapping[SplitName, Split]]) -> Split:
    """A split from what is kept; `decode` gives both splits, checked against the digest, when nothing is."""
    path, record = kept(spec, split), _record(spec)
    if not path.is_file():
        keep(spec, decode())
    remedy = f"delete {path.parent}/decoded*, then: {spec.obtain}"
    expected = read_json(record) if record.is_file() else {}
    if expected.get("digest") != spec.digest:
        raise DataError(f"{record}: missing or of another version; {remedy}")
    try:
        with path.open("rb") as file:
            images, labels = (torch.from_numpy(np.load(file, allow_pickle=False)) for _ in range(2))
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: not readable ({error}); {remedy}") from error
    data = Split(images, labels.to(torch.int64))
    if _hash(data) != expected["sha256"].get(split):
        raise DataError(f"{path}: its content is not what was written; {remedy}")
    return check_split(spec, split, data, str(path))


def keep(spec: DatasetSpec, splits: Mapping[SplitName, Split]) -> None:
    """Write a record of the set's digest and of the hash of each split, then both splits.

    In this order, whoever finds the arrays finds their hashes as well.
    """
    hashes = {split: _hash(data) for split, data in splits.items()}
    write_json(_record(spec), {"digest": spec.digest, "sha256": hashes})
    for split, data in splits.items():
        with atomic_write(kept(spec, split), "wb") as stream:
            for array in (data.images.contiguous(), data.labels.to(torch.uint8)):
                np.save(stream, array.numpy(), allow_pickle=False)


def _hash(*splits: Split) -> str:
    """SHA-256 over splits: of each its size, its labels and its pixels, a byte each."""
    total = hashlib.sha256()
    for data in splits:
        total.update(f"{len(data)}\n".encode())
        total.update(data.labels.to(torch.uint8).numpy().data)
        total.update(data.images.contiguous().numpy().data)
    return total.hexdigest()


def _record(spec: DatasetSpec) -> Path:
    return raw_folder(spec.name) / "decoded.json"


def check_digest(spec: DatasetSpec, found: str, where: str) -> None:
    """DataError when the content of `where` has not the digest of the set."""
    if found != spec.digest:
        raise DataError(f"{where}: the content's digest is {found}, not {spec.digest}; delete it, then: {spec.obtain}")


def digest_of_pixels(splits: Mapping[SplitName, Split]) -> str:
    """SHA-256 over both splits, training first: of each its size, its labels and its pixels, a byte each."""
    return _hash(*(splits[split] for split in SPLITS))


def digest_of_files(encoded: Mapping[SplitName, Encoded]) -> str:
    """SHA-256 over the files in their order: of each, its split, its label and the SHA-256 of its bytes."""
    total = hashlib.sha256()
    for split in SPLITS:
        files, labels = encoded[split]
        for data, label in zip(files, labels.tolist(), strict=True):
            total.update(f"{split} {label} {hashlib.sha256(data).hexdigest()}\n".encode())
    return total.hexdigest()


def from_files(spec: DatasetSpec, encoded: Mapping[SplitName, Encoded], where: str) -> dict[SplitName, Split]:
    """The pixels of files whose labels and digest are what the set's are; DataError names `where` otherwise."""
    for split in SPLITS:
        check_labels(spec, split, encoded[split][1], where)
    check_digest(spec, digest_of_files(encoded), where)
    return {split: decode(spec, encoded[split], where) for split in SPLITS}


def decode(spec: DatasetSpec, encoded: Encoded, where: str) -> Split:
    """The pixels of image files, in RGB; many of them are decoded on all cores, whose results are the same."""
    files, labels = encoded
    images = torch.empty((len(files), *spec.shape), dtype=torch.uint8)
    pieces = _Pieces(spec, files, where)
    # A process that is not forked from this one would first have to import all of it.
    shared_out = len(files) >= MANY and multiprocessing.get_start_method() == "fork"
    workers = len(os.sched_getaffinity(0)) if shared_out else 0
    own = torch.Generator()  # the loader draws a number, and the network's are not to be other ones for that
    for number, piece in enumerate(DataLoader(pieces, batch_size=None, num_workers=workers, generator=own)):
        images[number * pieces.size :][: len(piece)] = piece
    return Split(images, labels)


class _Pieces(Dataset[Tensor]):
    """Images by the number of their piece of PIECE bytes, of which each worker has two ready in shared memory."""

    def __init__(self, spec: DatasetSpec, files: Sequence[bytes], where: str) -> None:
        self.spec, self.files, self.where = spec, files, where
        self.size = max(1, PIECE // math.prod(spec.shape))

    def __len__(self) -> int:
        return -(-len(self.files) // self.size)

    def __getitem__(self, number: int) -> Tensor:
        files = self.files[number * self.size : (number + 1) * self.size]
        return torch.stack([decode_one(self.spec, data, self.where) for data in files])


def decode_one(spec: DatasetSpec, source: Path | bytes, where: str) -> Tensor:
    """One image as uint8 (3, H, W); DataError names `where` when it cannot be decoded or has another size."""
    pixels = to_tensor(read_image(source, f"{where}: an image", spec.obtain))
    if tuple(pixels.shape) != spec.shape:
        raise DataError(f"{where}: an image has the shape {tuple(pixels.shape)}, not {spec.shape}; {spec.obtain}")
    return pixels
