from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from papers.ghostnet import MODELS
from shared.checkpoints.pin import advice, pin
from shared.errors import PapertrailError, UsageError
from shared.weights.load import load_checkpoint

from .conftest import ARGS, REF, make_run


def files(repository: Path) -> list[str]:
    return sorted(path.name for path in (repository / "papers/ghostnet/checkpoints").glob("*"))


def test_a_pinned_run_comes_back_as_the_same_network(repository: Path, finished: Path) -> None:
    card = pin(finished)
    assert card.ref == REF and card.tag == "papers/ghostnet=ghost-tiny-3@v1.0.0"
    model, again = load_checkpoint(REF)
    assert again == card and not model.training
    torch.manual_seed(0)
    images = torch.randn(2, 1, 28, 28)
    torch.manual_seed(0)
    original = MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1).eval()
    assert torch.equal(model(images), original(images))


def test_pinning_declares_the_artifact_and_keeps_comments(repository: Path, finished: Path) -> None:
    pin(finished)
    text = (repository / "papers/ghostnet/dvc.yaml").read_text()
    assert "# A comment that stays." in text
    declared = YAML(typ="safe").load(text)["artifacts"]["ghost-tiny-3"]
    assert declared["path"] == "checkpoints/ghost-tiny-3.safetensors" and declared["type"] == "model"


def test_a_pinned_name_is_never_overwritten_but_superseded(repository: Path, finished: Path, tmp_path: Path) -> None:
    pin(finished)
    before = {name: (repository / "papers/ghostnet/checkpoints" / name).read_bytes() for name in files(repository)}
    with pytest.raises(UsageError, match="never overwritten"):
        pin(finished)
    with pytest.raises(UsageError, match="is pinned as `ghost-tiny-3`; to replace it, add --supersedes ghost-tiny-3"):
        pin(finished, "ghost-tiny-3-v2")
    with pytest.raises(UsageError, match="--supersedes ghost-tiny-3: seed 4 of tiny/ghost is not pinned"):
        pin(make_run(tmp_path / "other", seed=4), supersedes="ghost-tiny-3")
    newer = pin(finished, "ghost-tiny-3-v2", supersedes="ghost-tiny-3")
    assert newer.supersedes == "ghost-tiny-3"
    after = {name: (repository / "papers/ghostnet/checkpoints" / name).read_bytes() for name in before}
    assert after == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": "a" * 40 + "-dirty"}, "no commit holds"),
        ({"sha256": "f" * 64}, "its SHA-256 is"),
        ({"args": {"width": 0.125}}, "has the shape"),
        ({"model": "ghost_vgg17"}, "no model `ghost_vgg17`; there are"),
        ({"data_hash": "short"}, "data_hash"),
        ({"invented": 1}, "invented: unknown key"),
    ],
)
def test_a_run_that_cannot_be_trusted_is_refused_and_nothing_is_left(
    repository: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(PapertrailError, match=message):
        pin(make_run(tmp_path / "bad", **changes))
    assert files(repository) == []
    assert "artifacts" not in (repository / "papers/ghostnet/dvc.yaml").read_text()


def test_a_run_whose_weights_are_a_pickle_is_refused(repository: Path, finished: Path) -> None:
    weights = finished / "weights.safetensors"
    torch.save({"x": torch.zeros(1)}, weights)
    with pytest.raises(PapertrailError, match=r"weights\.safetensors: this is a pickle"):
        pin(finished)


@pytest.mark.parametrize("place", ["dvc.yaml", "ghost-tiny-3.safetensors", "ghost-tiny-3.json"])
def test_a_disk_that_fills_up_leaves_nothing(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    flushed = os.fsync

    def full(descriptor: int) -> None:
        if f".{place}." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flushed(descriptor)

    before = (repository / "papers/ghostnet/dvc.yaml").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PapertrailError, match="No space left on device"):
        pin(finished)
    assert "ghost-tiny-3.json" not in files(repository), "a card says that everything else is there"
    monkeypatch.undo()
    if place == "ghost-tiny-3.safetensors":
        assert files(repository) == [] and (repository / "papers/ghostnet/dvc.yaml").read_bytes() == before


def test_a_read_only_folder_is_named_and_left_alone(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkstemp", read_only)
    with pytest.raises(PapertrailError, match=r"ghost-tiny-3\.json: cannot be written \(Read-only file system\)"):
        pin(finished)
    assert files(repository) == []


def test_weights_too_large_for_git_go_behind_the_remote(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = pin(finished)
    assert advice(card)[-1] == "git tag 'papers/ghostnet=ghost-tiny-3@v1.0.0'"
    assert advice(card)[0].startswith("git add papers/ghostnet/checkpoints/ghost-tiny-3.safetensors ")
    large = advice(card.model_copy(update={"bytes": 5 * 1024 * 1024 + 1}))
    assert large[0] == "dvc add papers/ghostnet/checkpoints/ghost-tiny-3.safetensors  # 5.2 MB: too large for git"
    assert "ghost-tiny-3.safetensors.dvc" in large[2]


def test_a_folder_without_a_run_and_a_bad_name_are_wrong_usage(repository: Path, finished: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        pin(repository)
    with pytest.raises(UsageError, match="no checkpoint name"):
        pin(finished, "Ghost_1")
