"""The reader of SVHN on MATLAB files that are made here: the official ones are not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from shared import datasets
from shared.datasets import find, svhn
from shared.datasets.spec import DatasetSpec
from shared.errors import DataError

COUNTS = {"train_32x32.mat": 20, "extra_32x32.mat": 30, "test_32x32.mat": 10}


def pinned(folder: Path) -> DatasetSpec:
    """The set with the hashes, sizes and counts of the files that lie in `folder`."""
    spec = datasets.spec("svhn")
    files = tuple(
        file.model_copy(
            update={
                "sha256": find.hash_file(folder / file.name, "sha256"),
                "size": (folder / file.name).stat().st_size,
            }
        )
        for file in spec.files
    )
    return spec.model_copy(update={"files": files, "counts": {"train": 50, "test": 10}})


@pytest.fixture
def made(elsewhere: Path) -> dict[str, np.ndarray]:
    """The images (N, 3, 32, 32) of three files, whose labels are 1 to 10 in turn, as the publisher wrote such files."""
    images = {}
    for seed, (name, count) in enumerate(COUNTS.items()):
        pixels = np.random.default_rng(seed).integers(256, size=(32, 32, 3, count), dtype=np.uint8)
        labels = (np.arange(count, dtype=np.uint8) % 10 + 1)[:, None]
        savemat(elsewhere / name, {"X": pixels, "y": labels}, do_compression=True)
        images[name] = np.stack([pixels[..., number].transpose(2, 0, 1) for number in range(count)])
    return images


def test_the_extra_images_stand_behind_the_training_images_and_ten_is_a_zero(made, elsewhere):
    spec = pinned(elsewhere)
    train, test = svhn.read(spec, "train"), svhn.read(spec, "test")
    assert np.array_equal(train.images, np.concatenate([made["train_32x32.mat"], made["extra_32x32.mat"]]))
    assert np.array_equal(test.images, made["test_32x32.mat"])
    assert train.images.dtype == torch.uint8 and train.images.is_contiguous()
    assert test.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0] and train.labels.tolist() == test.labels.tolist() * 5
    assert spec.labels[0] == "zero" and svhn.reader(spec).count()["classes_counted"]["test"]["largest"] == 1


def test_only_the_official_files_are_read(made, elsewhere):
    with pytest.raises(DataError, match=r"train_32x32\.mat: truncated: .* expected 182040794; delete it, then: run"):
        svhn.read(datasets.spec("svhn"), "train")
    spec = pinned(elsewhere)
    file = elsewhere / "extra_32x32.mat"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"extra_32x32\.mat: sha256 is"):
        svhn.read(spec, "train")


def test_another_count_is_refused(made, elsewhere):
    spec = pinned(elsewhere).model_copy(update={"counts": {"train": 51, "test": 10}})
    with pytest.raises(DataError, match=r"train_32x32\.mat and extra_32x32\.mat: 50 train samples, svhn has 51"):
        svhn.read(spec, "train")


def test_svhn_where_it_is():
    if datasets.describe("svhn")["missing"]:
        pytest.skip("SVHN is not here")
    test = datasets.opened("svhn").read("test")
    assert len(test) == 26_032 and int(test.labels.bincount().min()) > 1_000
