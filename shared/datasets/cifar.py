"""CIFAR-10 and CIFAR-100 from their official binary archives: fixed records, nothing to unpickle."""

from __future__ import annotations

import dataclasses
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch

from shared.datasets.cifar_jpeg import CIFAR_BIBTEX, CLASSES
from shared.datasets.find import obtain
from shared.datasets.spec import DatasetSpec, SourceFile, Split, SplitName, check_split
from shared.errors import DataError

URL = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32

CIFAR10 = DatasetSpec(
    name="cifar10",
    title="CIFAR-10",
    classes=10,
    shape=(3, 32, 32),
    counts={"train": 50_000, "test": 10_000},
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    source="https://www.cs.toronto.edu/~kriz/cifar.html, the binary version",
    licence="none stated; the page asks for a citation",
    files=(
        SourceFile(
            "cifar-10-binary.tar.gz",
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            url=URL + "cifar-10-binary.tar.gz",
            size=170_052_171,
        ),
    ),
    obtain="run `papertrail data cifar10`",
    bibtex=CIFAR_BIBTEX,
    note="The publisher's own split and order.",
    leakage="Barz and Denzler (2020) report duplicates in the training split for 3.3 % of the test images; kept.",
    labels=CLASSES,
)

CIFAR100 = dataclasses.replace(
    CIFAR10,
    name="cifar100",
    title="CIFAR-100",
    classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    files=(
        SourceFile(
            "cifar-100-binary.tar.gz",
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            url=URL + "cifar-100-binary.tar.gz",
            size=168_513_733,
        ),
    ),
    obtain="run `papertrail data cifar100`",
    note="The publisher's own split and order; the 100 fine labels.",
    leakage="Barz and Denzler (2020) report duplicates in the training split for 10 % of the test images; kept.",
    labels=(),
)

MEMBERS: dict[str, dict[str, tuple[str, ...]]] = {
    "cifar10": {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    "cifar100": {"train": ("train.bin",), "test": ("test.bin",)},
}


def read_cifar10(split: SplitName) -> Split:
    """A split of CIFAR-10 in the publisher's order."""
    return read_archive(CIFAR10, obtain(CIFAR10, CIFAR10.files[0]), split)


def read_cifar100(split: SplitName) -> Split:
    """A split of CIFAR-100, with its fine labels, in the publisher's order."""
    return read_archive(CIFAR100, obtain(CIFAR100, CIFAR100.files[0]), split)


def read_archive(spec: DatasetSpec, path: Path, split: SplitName) -> Split:
    """A split from a binary archive; DataError names the archive, and the member that is missing or damaged."""
    wanted = MEMBERS[spec.name][split]
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = Path(member.name).name
                stream = archive.extractfile(member) if name in wanted else None
                if stream is not None:
                    found[name] = stream.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: truncated or no tar archive ({error}); delete it, then: {spec.obtain}") from error
    for name in wanted:
        if name not in found:
            raise DataError(f"{path}: holds no {name}; delete it, then: {spec.obtain}")
    label_bytes = 2 if spec.name == "cifar100" else 1  # CIFAR-100: the coarse label, then the fine one
    parts = [parse_records(found[name], label_bytes, f"{path}: {name}") for name in wanted]
    images, labels = (torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True))
    return check_split(spec, split, Split(images, labels), str(path))


def parse_records(content: bytes, label_bytes: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,) of records: label bytes, then a red, a green, a blue plane."""
    length = label_bytes + PIXELS
    if len(content) % length:
        raise DataError(f"{where}: truncated: {len(content)} bytes are no whole number of {length}-byte records")
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32).copy(), records[:, label_bytes - 1].astype(np.int64)
