"""Fashion-MNIST: 70,000 grey pictures of clothes in IDX files."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from shared.datasets.find import find, obtain, verify
from shared.datasets.spec import DatasetSpec, SourceFile, Split, SplitName, check_split
from shared.errors import DataError

URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
UNSIGNED_BYTES = 0x08

# The publisher's files, then Debian's: the same contents, compressed again.
_PINS = {
    "train-images-idx3-ubyte.gz": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        26_421_880,
        "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    ),
    "train-labels-idx1-ubyte.gz": (
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        29_515,
        "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    ),
    "t10k-images-idx3-ubyte.gz": (
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        4_422_102,
        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        5_148,
        "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    ),
}

SPEC = DatasetSpec(
    name="fashion_mnist",
    title="Fashion-MNIST",
    classes=10,
    shape=(1, 28, 28),
    counts={"train": 60_000, "test": 10_000},
    mean=(0.28604,),
    std=(0.35302,),
    source="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT (Zalando SE)",
    files=tuple(
        SourceFile(name, sha256=official, url=URL + name, size=size) for name, (official, size, _) in _PINS.items()
    ),
    obtain="run `papertrail data fashion_mnist`, or install Debian's package dataset-fashion-mnist",
    bibtex="""@misc{xiao2017fashion,
  author = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  title = {{Fashion-MNIST}: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  year = {2017},
  eprint = {1708.07747},
  archivePrefix = {arXiv}
}""",
    note="The publisher's own split and order. Lossless, grey.",
    leakage="No count of duplicates between the splits is known to us.",
    labels=(
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
)  # fmt: skip


def _debian(file: SourceFile) -> SourceFile:
    return SourceFile(file.name, sha256=_PINS[file.name][2])


def locate() -> dict[str, Path | None]:
    """Where each file is: in the usual folders, else where Debian's package puts it."""
    installed = {file.name: DEBIAN / file.name for file in SPEC.files}
    return {
        file.name: find(SPEC, file) or (installed[file.name] if installed[file.name].is_file() else None)
        for file in SPEC.files
    }


def obtain_file(name: str) -> Path:
    """The verified path of one of the four files: the publisher's, found or fetched, else Debian's."""
    file = next(file for file in SPEC.files if file.name == name)
    path = locate()[name]
    return verify(path, _debian(file), SPEC) if path and path.parent == DEBIAN else obtain(SPEC, file)


def read(split: SplitName) -> Split:
    """A split in the publisher's order."""
    prefix = "train" if split == "train" else "t10k"
    file = obtain_file(f"{prefix}-images-idx3-ubyte.gz")
    images = torch.from_numpy(read_idx(file)).unsqueeze(1)
    labels = torch.from_numpy(read_idx(obtain_file(f"{prefix}-labels-idx1-ubyte.gz")).astype(np.int64))
    return check_split(SPEC, split, Split(images, labels), str(file))


def read_idx(path: Path) -> np.ndarray:
    """The array of a gzipped IDX file of unsigned bytes.

    IDX: two zero bytes, the element's type, the number of dimensions, each dimension as a big-endian 32-bit number,
    then the elements. DataError names the file when it is cut short or is something else.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or no gzip file ({error}); {SPEC.obtain}") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, UNSIGNED_BYTES]):
        raise DataError(f"{path}: not an IDX file of unsigned bytes; {SPEC.obtain}")
    start = 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[place : place + 4], "big") for place in range(4, start, 4))
    size, promised = len(content) - start, math.prod(shape)
    if size != promised:
        raise DataError(f"{path}: {size} bytes of data, its header promises {promised} for {shape}; {SPEC.obtain}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
