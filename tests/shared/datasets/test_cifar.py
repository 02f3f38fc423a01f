"""Both CIFAR sets, in every form that they may have: small made-up ones, and the true ones where they are at hand."""

from __future__ import annotations

import io
import os
import shutil
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from shared import datasets
from shared.datasets import cifar, decoded, find
from shared.datasets.cifar import by_pixels
from shared.datasets.cifar_python import read_batch
from shared.datasets.spec import DatasetSpec, SourceFile, Split
from shared.errors import DataError
from tests.shared.datasets.made import needs_data

Rows = dict[str, tuple[list[int], np.ndarray]]  # of each official file, its labels and its images
COUNTS = {"train": 300, "test": 200}


def made_up(name: str) -> Rows:
    """A few images in each of the official files, no two files alike."""
    classes, draws = datasets.spec(name).classes, np.random.default_rng(0)
    rows = {}
    for split, files in cifar.MEMBERS[name].items():
        each = COUNTS[split] // len(files)
        for file in files:
            labels = [(7 * place + len(rows)) % classes for place in range(each)]
            rows[file] = labels, draws.integers(0, 256, (each, 3, 32, 32), dtype=np.uint8)
    return rows


def binary(name: str, labels: list[int], images: np.ndarray) -> bytes:
    """Records as the publisher describes them: CIFAR-100's have a coarse label before the fine one."""
    coarse = [[label % 20] if name == "cifar100" else [] for label in labels]
    return b"".join(
        bytes([*c, label]) + image.tobytes() for c, label, image in zip(coarse, labels, images, strict=True)
    )


def pickled(name: str, labels: list[int], images: np.ndarray) -> bytes:
    """A batch as Python 2 wrote it; the rebuilding of the array is cut short, for nothing is to carry it out."""

    def text(value: str) -> bytes:
        return b"U" + bytes([len(value)]) + value.encode()

    def numbers(values: list[int]) -> bytes:
        return b"](" + b"".join(b"K" + bytes([value]) for value in values) + b"e"

    pixels = images.tobytes()
    parts = [b"\x80\x02}("]
    if name == "cifar100":
        names = b"](" + b"".join(text(f"labels_s_{place}.png") for place in range(len(labels))) + b"e"
        parts += [text("filenames"), names, text("batch_label"), text("training batch 1 of 1")]
        parts += [
            text("fine_labels"),
            numbers(labels),
            text("coarse_labels"),
            numbers([label % 20 for label in labels]),
        ]
    else:
        parts += [text("batch_label"), text("testing batch 1 of 1"), text("labels"), numbers(labels)]
    parts += [text("data"), b"cposix\nsystem\nK\x00", b"T" + struct.pack("<I", len(pixels)) + pixels, b"u."]
    return b"".join(parts)


def png(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return stream.getvalue()


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"folder/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def write_files(folder: Path, members: dict[str, bytes]) -> None:
    for name, content in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def write_packed(folder: Path, rows: Rows) -> None:
    folder.mkdir()
    names = {"train-1": ["data_batch_1", "data_batch_2"], "train-2": [f"data_batch_{i}" for i in (3, 4, 5)]}
    start = 0
    for file, members in {**names, "test": ["test_batch"]}.items():
        labels = [label for member in members for label in rows[member][0]]
        images = [png(image, "WEBP") for member in members for image in rows[member][1]]
        start = 0 if file == "test" else start
        index = list(range(start, start + len(labels)))
        start += len(labels)
        order = np.random.default_rng(1).permutation(len(labels)).tolist()  # a file need not be in order
        columns = {"index": index, "image": images, "label": labels}
        table = pyarrow.table({key: [column[place] for place in order] for key, column in columns.items()})
        pyarrow.parquet.write_table(table, folder / f"{file}.parquet")


def write_clone(folder: Path, rows: Rows, classes: tuple[str, ...]) -> None:
    """A PNG for each image, under names whose order is not that of the rows."""
    for split, (labels, images) in rows.items():
        for place, (label, image) in enumerate(zip(labels, images, strict=True)):
            write_files(
                folder, {f"{split}/{classes[label]}/{classes[label]}_s_{(place * 37) % 10_007:06d}.png": png(image)}
            )


FORMS = {
    "cifar10": ["cifar-10-binary.tar.gz", "cifar-10-batches-bin", "cifar-10-batches-py", "cifar10"],
    "cifar100": ["cifar-100-binary.tar.gz", "cifar-100-binary", "cifar-100-python", "CIFAR-100-dataset"],
}


def write_form(given: Path, name: str, form: str, rows: Rows) -> DatasetSpec:
    """Write one form of the rows, and return the specification that fits it, but for the digest."""
    records = {f"{file}.bin": binary(name, *row) for file, row in rows.items()}
    spec = datasets.spec(name).model_copy(update={"counts": COUNTS})
    if form.endswith(".tar.gz"):
        write_archive(given / form, {"readme.html": b"", **records})
        pinned = SourceFile(name=form, sha256=find.hash_file(given / form, "sha256"))
        return spec.model_copy(update={"files": (pinned,)})
    if form in ("cifar-10-batches-bin", "cifar-100-binary"):
        write_files(given / form, records)
    elif form in ("cifar-10-batches-py", "cifar-100-python"):
        write_files(given / form, {file: pickled(name, *row) for file, row in rows.items()})
    elif name == "cifar10":
        write_packed(given / form, rows)
    else:
        write_clone(given / form, rows, spec.labels)
    return spec


def digest_found(spec: DatasetSpec) -> str:
    with pytest.raises(DataError, match="the content's digest is") as refused:
        cifar.splits(spec)
    return str(refused.value).partition("digest is ")[2][:64]


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_one_digest(elsewhere, name):
    rows, found = made_up(name), {}
    assert list(cifar.FORMS[name]) == FORMS[name]
    for form in FORMS[name]:
        spec = write_form(elsewhere, name, form, rows)
        assert cifar.locate(spec) == {form: elsewhere / form}
        found[form] = digest_found(spec)
        place = elsewhere / form
        place.unlink() if place.is_file() else shutil.rmtree(place)
    assert len(set(found.values())) == 1, found


def test_cifar10_keeps_the_publishers_order(elsewhere):
    rows = made_up("cifar10")
    spec = write_form(elsewhere, "cifar10", "cifar-10-batches-py", rows)
    spec = spec.model_copy(update={"digest": digest_found(spec)})
    train = cifar.read(spec, "train")
    files = cifar.MEMBERS["cifar10"]["train"]
    assert train.labels.tolist() == [label for file in files for label in rows[file][0]]
    assert np.array_equal(train.images.numpy(), np.concatenate([rows[file][1] for file in files]))
    shutil.rmtree(elsewhere / "cifar-10-batches-py")
    assert torch.equal(cifar.read(spec, "train").images, train.images)  # from what was kept
    assert list(cifar.locate(spec)) == ["decoded-train.npy", "decoded-test.npy"]


def test_cifar100_is_dealt_over_its_fine_classes_whatever_order_it_comes_in(elsewhere):
    spec = write_form(elsewhere, "cifar100", "cifar-100-python", made_up("cifar100"))
    spec = spec.model_copy(update={"digest": digest_found(spec)})
    train = cifar.read(spec, "train")
    assert train.labels.tolist() == 3 * list(range(100))
    mixed = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    again = by_pixels(Split(train.images[mixed], train.labels[mixed]))
    assert torch.equal(again.images, train.images) and torch.equal(again.labels, train.labels)


@pytest.mark.parametrize("name", FORMS)
def test_one_other_pixel_is_refused(elsewhere, name):
    rows, form = made_up(name), FORMS[name][1]
    spec = write_form(elsewhere, name, form, rows)
    spec = spec.model_copy(update={"digest": digest_found(spec)})
    cifar.splits(spec)
    shutil.rmtree(elsewhere / form)
    file = next(iter(rows))
    rows[file][1][0, 2, 5, 5] ^= 1
    other = write_form(elsewhere, name, form, rows).model_copy(update={"digest": spec.digest})
    with pytest.raises(DataError, match=f"{elsewhere / form}: the content's digest is"):
        cifar.read(other, "train")
    assert not decoded.kept(other, "train").exists()


def test_damaged_forms_are_named(elsewhere):
    rows = made_up("cifar10")
    for form, file, message in (
        (
            "cifar-10-batches-bin",
            "data_batch_2.bin",
            r"data_batch_2\.bin: truncated: \d+ bytes are no whole number of 3073",
        ),
        ("cifar-10-batches-py", "data_batch_2", r"data_batch_2: truncated or no batch of CIFAR's Python version"),
        ("cifar10", "train-2.parquet", r"cifar10: a file is missing or damaged"),
    ):
        spec = write_form(elsewhere, "cifar10", form, rows)
        path = elsewhere / form / file
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(DataError, match=message):
            cifar.read(spec, "test")
        path.unlink()
        with pytest.raises(DataError, match=rf"{path.stem if form != 'cifar10' else 'cifar10'}.*run `papertrail data"):
            cifar.read(spec, "test")
        shutil.rmtree(elsewhere / form)


def test_damaged_archives_are_named(tmp_path):
    spec, path = datasets.spec("cifar10"), tmp_path / "c.tar.gz"
    write_archive(path, {"test_batch.bin": binary("cifar10", *made_up("cifar10")["test_batch"])[:-1]})
    with pytest.raises(DataError, match=r"c\.tar\.gz: test_batch\.bin: truncated"):
        cifar.read_archive(spec, path, "test")
    with pytest.raises(DataError, match=r"c\.tar\.gz: holds no data_batch_1\.bin"):
        cifar.read_archive(spec, path, "train")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"c\.tar\.gz: truncated or no tar archive"):
        cifar.read_archive(spec, path, "test")


def test_a_clone_without_a_class_is_refused(elsewhere):
    spec = write_form(elsewhere, "cifar100", "CIFAR-100-dataset", made_up("cifar100"))
    shutil.rmtree(elsewhere / "CIFAR-100-dataset" / "train" / "lamp")
    with pytest.raises(DataError, match="the train split of cifar100 has no image of class lamp"):
        cifar.read(spec, "train")


def test_a_pickle_is_read_and_not_carried_out(tmp_path):
    """The batches of these tests say `posix.system`, which a module that unpickles would run or stumble over."""
    labels, images = made_up("cifar100")["test"]
    (tmp_path / "test").write_bytes(pickled("cifar100", labels, images))
    found, fine = read_batch(tmp_path / "test", "get it again")
    assert np.array_equal(found, images) and fine.tolist() == labels
    (tmp_path / "test").write_bytes(b"\x80\x02}.")
    with pytest.raises(DataError, match="test: 0 labels, but 0 bytes of pixels; get it again"):
        read_batch(tmp_path / "test", "get it again")


# The true ones


@needs_data
def test_cifar10_is_the_genuine_one():
    """The digest is that of the official batches; see data/cifar10/README.md."""
    if not datasets.describe("cifar10")["found"]:
        pytest.skip("CIFAR-10 is not here")
    counted = datasets.prepare("cifar10")["classes_counted"]
    assert counted == {"train": {"smallest": 5000, "largest": 5000}, "test": {"smallest": 1000, "largest": 1000}}
    train = datasets.opened("cifar10").read("train")
    assert train.labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]  # the publisher's own first ten
    spec, unit = datasets.spec("cifar10"), train.images.float() / 255
    assert unit.mean((0, 2, 3)).tolist() == pytest.approx(spec.mean, abs=5e-5)
    assert unit.transpose(0, 1).flatten(1).std(1).tolist() == pytest.approx(spec.std, abs=5e-5)


REAL = os.environ.get("PAPERTRAIL_DATA", "")


@needs_data
def test_real_images_of_cifar100_are_the_same_from_each_form(elsewhere):
    """1,500 + 700 of the publisher's own images, with their fine labels."""
    packed = Path(REAL) / "cifar100-mini.parquet"
    if not packed.is_file():
        pytest.skip(f"{packed.name} is not there")
    rows: Rows = {}
    for split in ("train", "test"):
        table = [row for row in pyarrow.parquet.read_table(packed).to_pylist() if row["split"] == split]
        images = [np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB")).transpose(2, 0, 1) for row in table]
        rows[split] = [row["label"] for row in table], np.stack(images)
    counts = {split: len(labels) for split, (labels, _) in rows.items()}
    found = set()
    for form in FORMS["cifar100"]:
        spec = write_form(elsewhere, "cifar100", form, rows).model_copy(update={"counts": counts})
        found.add(digest_found(spec))
        place = elsewhere / form
        place.unlink() if place.is_file() else shutil.rmtree(place)
    assert counts == {"train": 1500, "test": 700} and len(found) == 1
