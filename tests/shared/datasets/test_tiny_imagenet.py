from __future__ import annotations

import io
import shutil
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from shared import datasets
from shared.datasets import decoded, find, tiny_imagenet
from shared.datasets.spec import DatasetSpec, SourceFile
from shared.errors import DataError
from tests.shared.datasets.made import jpeg, write_folder

WNIDS = ("n01443537", "n01629819", "n01641577")
FOLDER = "tiny-imagenet-200"


def files() -> dict[str, bytes]:
    """Twelve training images of each of three classes, and seven to test, in the archive's layout."""
    made = {"wnids.txt": "\n".join(reversed(WNIDS)).encode()}
    for wnid in WNIDS:
        made |= {
            f"train/{wnid}/images/{wnid}_{i}.JPEG": jpeg(zlib.crc32(f"{wnid} {i}".encode()), (64, 64))
            for i in range(12)
        }
        made[f"train/{wnid}/{wnid}_boxes.txt"] = b"0 0 63 63"
    made |= {f"val/images/val_{i}.JPEG": jpeg(i, (64, 64)) for i in range(7)}
    lines = [f"val_{i}.JPEG\t{WNIDS[(i + 1) % 3]}\t0\t0\t63\t63\n" for i in range(7)]
    return made | {"val/val_annotations.txt": "".join(lines).encode(), "test/images/test_0.JPEG": jpeg(99, (64, 64))}


@pytest.fixture
def spec() -> DatasetSpec:
    few = {"classes": 3, "labels": WNIDS, "counts": {"train": 36, "test": 7}}
    return datasets.spec("tiny_imagenet").model_copy(update=few)


def digest_found(spec: DatasetSpec) -> str:
    with pytest.raises(DataError, match="the content's digest is") as refused:
        tiny_imagenet.read(spec, "train")
    return str(refused.value).partition("digest is ")[2][:64]


def test_the_archive_its_folder_and_a_clone_agree(elsewhere, spec):
    write_folder(elsewhere / FOLDER, files())
    found = [digest_found(spec)]
    (elsewhere / "IMagenet").mkdir()
    (elsewhere / FOLDER).rename(elsewhere / "IMagenet" / FOLDER)
    assert tiny_imagenet.locate(spec) == {FOLDER: elsewhere / "IMagenet" / FOLDER}
    found.append(digest_found(spec))
    shutil.rmtree(elsewhere / "IMagenet")
    archive = elsewhere / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.mkdir(FOLDER)
        for name, content in files().items():
            packed.writestr(f"{FOLDER}/{name}", content)
    pinned = SourceFile(name=archive.name, sha256=find.hash_file(archive, "sha256"))
    found.append(digest_found(spec.model_copy(update={"files": (pinned,)})))
    assert len(set(found)) == 1
    with pytest.raises(DataError, match=r"tiny-imagenet-200\.zip: truncated: \d+ bytes, expected 248100043"):
        tiny_imagenet.read(spec, "train")


def test_classes_are_dealt_and_each_is_in_the_order_of_its_numbers(elsewhere, spec):
    made = files()
    write_folder(elsewhere / FOLDER, made)
    spec = spec.model_copy(update={"digest": digest_found(spec)})
    train, test = tiny_imagenet.read(spec, "train"), tiny_imagenet.read(spec, "test")
    assert train.labels.tolist() == 12 * [0, 1, 2] and test.labels.tolist() == [0, 1, 2, 0, 1, 2, 1]
    third = np.asarray(Image.open(io.BytesIO(made[f"train/{WNIDS[1]}/images/{WNIDS[1]}_2.JPEG"])))
    assert np.array_equal(train.images[2 * 3 + 1].permute(1, 2, 0).numpy(), third)  # before _10, whatever letters say
    first = np.asarray(Image.open(io.BytesIO(made["val/images/val_2.JPEG"])))
    assert np.array_equal(test.images[0].permute(1, 2, 0).numpy(), first)
    assert decoded.kept(spec, "train").is_file()


def test_what_is_missing_or_wrong_is_named(elsewhere, spec):
    made = files()
    missing = {name: data for name, data in made.items() if "_boxes" not in name}
    del missing["val/images/val_3.JPEG"]
    write_folder(elsewhere / FOLDER, missing)
    with pytest.raises(DataError, match=rf"{FOLDER}: val/images/val_3\.JPEG: missing or damaged"):
        tiny_imagenet.read(spec, "test")
    write_folder(elsewhere / FOLDER, {"val/val_annotations.txt": b"val_0.JPEG\tn99999999\t0\t0\t1\t1\n"})
    with pytest.raises(DataError, match=r"val_annotations\.txt: 'n99999999' is none of the 3 classes"):
        tiny_imagenet.read(spec, "test")
    write_folder(elsewhere / FOLDER, made)
    shutil.rmtree(elsewhere / FOLDER / "train" / WNIDS[2])
    with pytest.raises(DataError, match=f"no image of class {WNIDS[2]}"):
        tiny_imagenet.read(spec, "test")


def test_an_image_of_another_size_is_named(elsewhere, spec):
    made = files() | {"val/images/val_3.JPEG": jpeg(3, (63, 64))}
    write_folder(elsewhere / FOLDER, made)
    with pytest.raises(DataError, match=r"tiny-imagenet-200: an image has the shape \(3, 64, 63\), not \(3, 64, 64\)"):
        tiny_imagenet.read(spec.model_copy(update={"digest": digest_found(spec)}), "test")
