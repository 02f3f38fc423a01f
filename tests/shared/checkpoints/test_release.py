from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shared.checkpoints import release as releasing
from shared.checkpoints.pin import pin
from shared.checkpoints.release import release
from shared.errors import PapertrailError

TAG = "papers/ghostnet=ghost-tiny-3@v1.0.0"


def test_what_is_tagged_is_committed(repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    monkeypatch.setattr(releasing, "ROOT", repository)
    monkeypatch.setattr(releasing, "release_tag", lambda ref: None)
    git("init", "-q")
    git("config", "user.name", "someone")
    git("config", "user.email", "someone@example.org")
    git("add", "papers/ghostnet/paper.yaml")
    git("commit", "-q", "-m", "a paper")
    pin([finished])
    with pytest.raises(PapertrailError, match=r"commit or restore these first:\n.*checkpoints/ghost-tiny-3\.json"):
        release("v1.0.0")
    git("add", "papers/ghostnet/checkpoints")
    git("commit", "-q", "-m", "weights")
    (repository / "papers/ghostnet/checkpoints/ghost-tiny-3.safetensors").write_bytes(b"others")
    with pytest.raises(PapertrailError, match=r"ghost-tiny-3\.safetensors"):
        release("v1.0.0")
    assert git("tag", "--list") == ""
    git("checkout", "-q", "papers/ghostnet/checkpoints")
    assert release("v1.0.0") == [TAG] and git("tag", "--list").split() == [TAG]
    with pytest.raises(PapertrailError, match="already exists"):
        release("v1.0.0")
