"""Fashion-MNIST: 70,000 grey pictures of clothes in IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from shared.datasets.find import find, obtain, verify
from shared.datasets.image_set import ImageSet, in_memory
from shared.datasets.spec import DatasetSpec, SourceFile, Split, SplitName, check_split
from shared.errors import DataError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
UNSIGNED_BYTES = 0x08


def reader(spec: DatasetSpec) -> ImageSet:
    """The pictures, held in memory."""
    return ImageSet(spec, read, in_memory, locate)


def locate(spec: DatasetSpec) -> dict[str, Path | None]:
    """Where each file is: in the usual folders, else where Debian's package puts it."""
    installed = {file.name: DEBIAN / file.name for file in spec.files}
    return {
        file.name: find(spec, file) or (installed[file.name] if installed[file.name].is_file() else None)
        for file in spec.files
    }


def obtain_file(spec: DatasetSpec, name: str) -> Path:
    """The verified path of one of the four files: the publisher's, found or fetched, else Debian's."""
    file = next(file for file in spec.files if file.name == name)
    path = locate(spec)[name]
    if path and path.parent == DEBIAN:
        return verify(path, SourceFile(name=name, sha256=file.repacked), spec)
    return obtain(spec, file)


def read(spec: DatasetSpec, split: SplitName) -> Split:
    """A split in the publisher's order."""
    prefix = "train" if split == "train" else "t10k"
    file = obtain_file(spec, f"{prefix}-images-idx3-ubyte.gz")
    images = torch.from_numpy(read_idx(file, spec.obtain)).unsqueeze(1)
    labels = read_idx(obtain_file(spec, f"{prefix}-labels-idx1-ubyte.gz"), spec.obtain)
    return check_split(spec, split, Split(images, torch.from_numpy(labels.astype(np.int64))), str(file))


def read_idx(path: Path, remedy: str) -> np.ndarray:
    """The array of a gzipped IDX file of unsigned bytes.

    IDX: two zero bytes, the element's type, the number of dimensions, each dimension as a big-endian 32-bit number,
    then the elements. DataError names the file when it is cut short or is something else.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or no gzip file ({error}); {remedy}") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTES]):
        raise DataError(f"{path}: not an IDX file of unsigned bytes; {remedy}")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4))
    size, promised = len(content) - start, math.prod(shape)
    if size != promised:
        raise DataError(f"{path}: {size} bytes of data, its header promises {promised} for {shape}; {remedy}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
