"""CIFAR-10 and CIFAR-100 in each form that carries their very pixels; one digest pins them all.

Forms: the official binary archive or its extracted folder, the extracted folder of the official Python version, and a
lossless copy: Parquet files with CIFAR-10's rows in the official order, or a clone of a repository with a PNG for each
image of CIFAR-100.

CIFAR-10 keeps the publisher's order, which every form has. The clone of CIFAR-100 has file names and no order, and the
binary version an order and no file names. What all forms have is the labels and the pixels: so within each fine class
the images stand in the order of the SHA-256 of their pixels, and the classes are dealt round-robin.
"""

from __future__ import annotations

import functools
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from shared.datasets import decoded
from shared.datasets.cifar_python import PIXELS, read_batch
from shared.datasets.find import folders, obtain
from shared.datasets.image_set import ImageSet, in_memory
from shared.datasets.order import round_robin
from shared.datasets.spec import SPLITS, DatasetSpec, Split, SplitName, check_split
from shared.errors import DataError

Part = tuple[np.ndarray, np.ndarray]  # images uint8 (N, 3, 32, 32), labels int64 (N,)
Form = Callable[[DatasetSpec, Path, SplitName], Sequence[Part]]
MEMBERS: dict[str, dict[SplitName, tuple[str, ...]]] = {
    "cifar10": {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    "cifar100": {"train": ("train",), "test": ("test",)},
}


def reader(spec: DatasetSpec) -> ImageSet:
    """The images, held in memory."""
    return ImageSet(spec, read, in_memory, locate)


def read(spec: DatasetSpec, split: SplitName) -> Split:
    """A split as uint8; read from whichever form is here once, then kept."""
    return decoded.read(spec, split, functools.partial(splits, spec))


def locate(spec: DatasetSpec) -> dict[str, Path | None]:
    """Where the decoded arrays are, else the first form that is here."""
    found = _form(spec)
    return decoded.located(spec, found[0] if found else None, " or ".join(FORMS[spec.name]))


def splits(spec: DatasetSpec) -> dict[SplitName, Split]:
    """Both splits from the first form that is here, or from the archive, fetched; their digest is the pinned one."""
    path, read_form = _form(spec) or (None, read_archive)
    if path is None or path.is_file():
        path = obtain(spec, spec.files[0])
    found: dict[SplitName, Split] = {}
    for split in SPLITS:
        parts = read_form(spec, path, split)
        images, labels = (torch.from_numpy(np.concatenate([part[column] for part in parts])) for column in (0, 1))
        found[split] = check_split(spec, split, Split(images, labels), str(path))
        if spec.name == "cifar100":
            found[split] = by_pixels(found[split])
    decoded.check_digest(spec, decoded.digest_of_pixels(found), str(path))
    return found


def by_pixels(data: Split) -> Split:
    """The samples of each class in the order of the SHA-256 of their pixels, the classes dealt round-robin."""
    hashes = [hashlib.sha256(image).digest() for image in data.images.contiguous().numpy()]
    order = torch.tensor(sorted(range(len(data)), key=hashes.__getitem__))
    order = order[round_robin(data.labels[order])]
    return Split(data.images[order], data.labels[order])


def _form(spec: DatasetSpec) -> tuple[Path, Form] | None:
    for folder in folders(spec):
        for name, (mark, read_form) in FORMS[spec.name].items():
            if (folder / name / mark).exists():
                return folder / name, read_form
    return None


def read_archive(spec: DatasetSpec, path: Path, split: SplitName) -> list[Part]:
    """The parts of a split in a binary archive; DataError names the archive, and the member that is missing."""
    wanted = [f"{name}.bin" for name in MEMBERS[spec.name][split]]
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
    return [_records(spec, found[name], f"{path}: {name}") for name in wanted]


def read_binary(spec: DatasetSpec, path: Path, split: SplitName) -> list[Part]:
    """The parts of a split in the extracted folder of a binary archive."""
    files = [path / f"{name}.bin" for name in MEMBERS[spec.name][split]]
    return [_records(spec, _bytes(file, spec), str(file)) for file in files]


def read_python(spec: DatasetSpec, path: Path, split: SplitName) -> list[Part]:
    """The parts of a split in the extracted folder of the Python version."""
    return [read_batch(path / name, spec.obtain) for name in MEMBERS[spec.name][split]]


def read_packed(spec: DatasetSpec, path: Path, split: SplitName) -> list[Part]:
    """A split of lossless images in Parquet files, whose rows say where they stand in the official files."""
    import pyarrow
    import pyarrow.parquet

    files = [path / f"{name}.parquet" for name in (("train-1", "train-2") if split == "train" else ("test",))]
    try:
        table = pyarrow.concat_tables([pyarrow.parquet.read_table(file) for file in files]).sort_by("index")
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise DataError(f"{path}: a file is missing or damaged ({error}); {spec.obtain}") from error
    labels = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
    images = decoded.decode(spec, (table["image"].to_pylist(), labels), str(path)).images
    return [(images.numpy(), labels.numpy())]


def read_pngs(spec: DatasetSpec, path: Path, split: SplitName) -> list[Part]:
    """A split of images in <split>/<class>/*.png."""
    images, labels = [], []
    for label, name in enumerate(spec.labels):
        files = sorted((path / split / name).glob("*.png"))
        images += [decoded.decode_one(spec, file, str(file)).numpy() for file in files]
        labels += [label] * len(files)
    return [(np.stack(images) if images else np.empty((0, *spec.shape), np.uint8), np.array(labels, dtype=np.int64))]


def _bytes(file: Path, spec: DatasetSpec) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); {spec.obtain}") from error


def _records(spec: DatasetSpec, content: bytes, where: str) -> Part:
    """Records of the binary version: label bytes (CIFAR-100: coarse, fine), then a red, a green and a blue plane."""
    label_bytes = 2 if spec.name == "cifar100" else 1
    length = label_bytes + PIXELS
    if len(content) % length:
        raise DataError(f"{where}: truncated: {len(content)} bytes are no whole number of {length}-byte records")
    records = np.frombuffer(content, np.uint8).reshape(-1, length)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32).copy(), records[:, label_bytes - 1].astype(np.int64)


# What is looked for: a name, a file inside by which it is known ("" when it is a file itself), and what reads it.
FORMS: dict[str, dict[str, tuple[str, Form]]] = {
    "cifar10": {
        "cifar-10-binary.tar.gz": ("", read_archive),
        "cifar-10-batches-bin": ("test_batch.bin", read_binary),
        "cifar-10-batches-py": ("test_batch", read_python),
        "cifar10": ("test.parquet", read_packed),
    },
    "cifar100": {
        "cifar-100-binary.tar.gz": ("", read_archive),
        "cifar-100-binary": ("test.bin", read_binary),
        "cifar-100-python": ("test", read_python),
        "CIFAR-100-dataset": ("test", read_pngs),
    },
}
