from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from shared import datasets
from shared.datasets import fashion_mnist
from shared.errors import DataError

SET = datasets.opened("fashion_mnist")
REMEDY = "get it again"


def write_idx(path: Path, array: np.ndarray, cut: int = 0) -> Path:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress((header + array.tobytes())[: -cut or None]))
    return path


def test_idx_files_are_read(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(fashion_mnist.read_idx(write_idx(tmp_path / "a.gz", array), REMEDY), array)


def test_damaged_idx_files_are_named(tmp_path):
    array = np.zeros((5, 2), np.uint8)
    with pytest.raises(DataError, match=r"short.gz: 9 bytes of data, its header promises 10"):
        fashion_mnist.read_idx(write_idx(tmp_path / "short.gz", array, cut=1), REMEDY)
    whole = write_idx(tmp_path / "cut.gz", array)
    whole.write_bytes(whole.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"cut.gz: truncated"):
        fashion_mnist.read_idx(whole, REMEDY)
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"hello world"))
    with pytest.raises(DataError, match=r"text.gz: not an IDX file"):
        fashion_mnist.read_idx(tmp_path / "text.gz", REMEDY)


def test_debians_files_are_found_and_have_pins_of_their_own(elsewhere, monkeypatch):
    folder = elsewhere.parent / "debian"
    folder.mkdir()
    name = "t10k-labels-idx1-ubyte.gz"
    write_idx(folder / name, np.arange(10, dtype=np.uint8))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", folder)
    assert fashion_mnist.locate(SET.spec)[name] == folder / name
    with pytest.raises(DataError, match=rf"{folder / name}: sha256 is .*, expected 8d3605d1"):
        fashion_mnist.obtain_file(SET.spec, name)
    (elsewhere / name).write_bytes(b"")
    assert fashion_mnist.locate(SET.spec)[name] == elsewhere / name
    with pytest.raises(DataError, match=rf"{elsewhere / name}: truncated: 0 bytes, expected 5148"):
        fashion_mnist.obtain_file(SET.spec, name)


def test_fashion_mnist_where_it_is_installed():
    if not all(datasets.describe("fashion_mnist")["found"].get(file.name) for file in SET.spec.files):
        pytest.skip("Fashion-MNIST is not here")
    test = SET.read("test")
    assert torch.bincount(test.labels).tolist() == [1000] * 10
