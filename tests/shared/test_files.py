from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared import files
from shared.errors import PapertrailError
from shared.files import atomic_write, git_commit, read_json, read_yaml, write_json, write_text


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    with pytest.raises(ZeroDivisionError), atomic_write(path) as stream:
        stream.write("half")
        1 / 0  # noqa: B018
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["file.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PapertrailError, match=r"file\.txt: cannot be written \(No space left on device\); nothing was"):
        write_text(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_a_real_full_device_is_reported() -> None:
    with pytest.raises(PapertrailError, match="cannot be written"):
        write_text(Path("/proc/papertrail/file.txt"), "new")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_command_as_killed_and_leaves_nothing_half_written(
    tmp_path: Path, ending: signal.Signals
) -> None:
    program = """
import sys, time
from pathlib import Path
from shared.errors import exit_status
from shared.files import atomic_write

def work():
    with atomic_write(Path(sys.argv[1])) as stream:
        stream.write("half")
        print("ready", flush=True)
        time.sleep(60)

sys.exit(exit_status(work))
"""
    words = [sys.executable, "-c", program, str(tmp_path / "file.txt")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(ending)
    assert process.communicate(timeout=30) == ("", "") and process.returncode == 128 + ending
    assert list(tmp_path.iterdir()) == []


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "ours", "x")
    (tmp_path / "usual").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_damaged_files_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b'{"a": \xff')
    for read in (read_json, read_yaml):
        with pytest.raises(PapertrailError, match="broken: not UTF-8"):
            read(broken)
        with pytest.raises(PapertrailError, match="missing: no such file"):
            read(tmp_path / "missing")
        with pytest.raises(PapertrailError, match=r"cannot be read \(Is a directory\)"):
            read(tmp_path)


def test_a_commit_is_dirty_when_sources_are_not_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROOT", tmp_path)
    assert git_commit() == "unknown"
    (tmp_path / "one.py").write_text("1")
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "one", "--no-verify"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = git_commit()
    assert len(clean) == 40
    (tmp_path / "notes.md").write_text("no source")
    assert git_commit() == clean
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "new.py").write_text("2")
    assert git_commit() == f"{clean}-dirty"
