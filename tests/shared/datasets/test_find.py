from __future__ import annotations

import pytest

from shared import datasets
from shared.datasets import find
from shared.datasets.spec import SourceFile
from shared.errors import DataError

CIFAR10 = datasets.spec("cifar10")


def test_a_wrong_hash_and_a_truncated_file_are_named_with_the_remedy(elsewhere):
    path = elsewhere / "cifar-10-binary.tar.gz"
    path.write_bytes(b"x" * 100)
    with pytest.raises(
        DataError, match=rf"{path}: truncated: 100 bytes, expected 170052171; delete it.*papertrail data"
    ):
        datasets.opened("cifar10").read("train")
    spec = CIFAR10.model_copy(update={"files": (SourceFile(name=path.name, sha256="0" * 64),)})
    with pytest.raises(DataError, match=rf"{path}: sha256 is .*, expected 000"):
        find.obtain(spec, spec.files[0])


def test_an_md5_pin_is_checked_too(elsewhere):
    path = elsewhere / "cifar10" / "thing"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    assert find.obtain(CIFAR10, SourceFile(name="thing", md5="900150983cd24fb0d6963f7d28e17f72")) == path
    with pytest.raises(DataError, match="md5 is 9001"):
        find.obtain(CIFAR10, SourceFile(name="thing", md5="0" * 32))


def test_what_cannot_be_fetched_says_where_to_put_it(elsewhere, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz: could not be fetched .*data/cifar10/raw"):
        datasets.opened("cifar10").read("test")
    assert not (elsewhere.parent / "data").exists()


def test_a_wrong_paper_trail_data_is_named(monkeypatch):
    monkeypatch.setenv("PAPERTRAIL_DATA", "/no/such/folder")
    with pytest.raises(DataError, match="PAPERTRAIL_DATA=/no/such/folder"):
        datasets.describe("cifar10")
