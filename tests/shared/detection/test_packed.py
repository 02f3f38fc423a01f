"""Archives."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from shared.detection import packed
from shared.errors import DataError


def tar_of(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../outside", "set/../../outside", "/outside"])
def test_nothing_is_written_outside_the_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    archive = tar_of(tmp_path / "bad.tar", ("set/good", b"1"), (name, b"2"))
    with pytest.raises(DataError, match=r"bad\.tar: holds .*outside, which is no file inside its folder"):
        packed.unpack(archive, tmp_path / "in")
    assert sorted(os.listdir(tmp_path)) == ["bad.tar", "in"]


def test_links_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds set/link, which is no file"):
        packed.unpack(tar_of(tmp_path / "bad.tar", ("set/link", None)), tmp_path / "in")


def test_a_truncated_archive_is_named(tmp_path):
    archive = tar_of(tmp_path / "cut.tar", ("set/large", bytes(100_000)))
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"cut\.tar: truncated or no tar file"):
        packed.unpack(archive, tmp_path / "in")
    archive.write_bytes(b"none")
    with pytest.raises(DataError, match=r"cut\.tar: truncated or no tar file"):
        packed.unpack(archive, tmp_path / "in")


def test_some_files_are_unpacked_under_other_names(tmp_path):
    archive = tar_of(tmp_path / "some.tar", ("set/a/1", b"one"), ("set/2", b"two"))
    packed.unpack(archive, tmp_path / "in", {"a/1": "b/c/first"})
    assert (tmp_path / "in" / "b" / "c" / "first").read_bytes() == b"one"
    assert os.listdir(tmp_path / "in") == ["b"]
    with pytest.raises(DataError, match=r"some\.tar: lacks 3 and 1 more"):
        packed.unpack(archive, tmp_path / "in", {"2": "2", "3": "3", "4": "4"})


def test_a_digest_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("1")
    first = packed.digest(tmp_path)
    (tmp_path / "a" / "b").write_text("2")
    second = packed.digest(tmp_path)
    (tmp_path / "a" / "b").rename(tmp_path / "c")
    assert len({first, second, packed.digest(tmp_path)}) == 3
