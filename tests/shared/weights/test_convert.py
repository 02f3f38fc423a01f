"""Published weights, read without running any code of theirs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from papers.ghostnet import MODELS
from shared.checkpoints import accuracy as measuring
from shared.checkpoints.accuracy import accuracy_of
from shared.datasets.augment import Augment
from shared.errors import PapertrailError, UsageError
from shared.files import sha256_file
from shared.training.accuracy import seen
from shared.weights import convert as converting
from shared.weights.convert import convert
from shared.weights.storage import load_weights, save_weights

ARGS = {"width": 0.0625, "s": 2, "d": 3}


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1)


@pytest.fixture(autouse=True)
def upstream(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream whose names have a prefix."""
    module = ModuleType("papers.ghostnet.upstream")

    def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.removeprefix("net."): tensor for name, tensor in state.items()}

    module.rename = rename  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "papers.ghostnet.upstream", module)


def published(network: nn.Module) -> dict[str, Tensor]:
    return {f"net.{name}": tensor for name, tensor in network.state_dict().items()}


ARGUMENTS = {**ARGS, "in_channels": 1}


@pytest.mark.parametrize(
    "form",
    ["plain.pth", "wrapped.pth", "twice.pth", "net.pth", "parallel.pth", "compiled.pth", "old.pth", "no-suffix",
     "plain.safetensors"],
)  # fmt: skip
def test_every_form_that_weights_are_published_in_is_read(tmp_path: Path, network: nn.Module, form: str) -> None:
    source, out = tmp_path / form, tmp_path / "ours.safetensors"
    state = published(network)
    if form == "plain.safetensors":
        save_weights(source, state)
    elif form == "wrapped.pth":
        torch.save({"epoch": 3, "state_dict": state}, source)
    elif form == "twice.pth":
        torch.save({"model": {"state_dict": state}, "args": {"lr": 0.1}}, source)
    elif form == "net.pth":
        torch.save({"net": state, "acc": 93.0, "epoch": 3}, source)
    elif form == "compiled.pth":
        torch.save({"model": {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}}, source)
    elif form == "parallel.pth":
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, source)
    else:
        torch.save(state, source, _use_new_zipfile_serialization=form != "old.pth")
    found = convert("ghostnet", source, "ghost_vgg16", ARGUMENTS, 10, out)
    again = load_weights(out, found["sha256"])
    assert again.keys() == network.state_dict().keys() and found["tensors"] == len(again)
    assert all(torch.equal(again[name], tensor) for name, tensor in network.state_dict().items())
    result = accuracy_of("ghostnet", "ghost_vgg16", ARGS, out, "mnist5k")
    assert result["top1"] == seen(network, Augment(), "mnist5k")["top1"] and result["images"] == 1000


class Trap:
    """What a hostile file would hold."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"w": Trap()}, "holds more than tensors"),
        ({"epoch": 1}, "no dictionary of tensors"),
        ([torch.zeros(1)], "no dictionary of tensors"),
        ({0: torch.zeros(1)}, "no dictionary of tensors"),
        (nn.Linear(1, 1), "holds more than tensors"),
        ({"net.other": torch.zeros(1)}, "it has no tensor"),
    ],
)
def test_what_is_no_fitting_dictionary_of_tensors_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(PapertrailError, match=rf"w\.pth: {message}"):
        convert("ghostnet", tmp_path / "w.pth", "ghost_vgg16", ARGUMENTS, 10, tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x80\x02 a pickle", b"<html>404</html>"])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(PapertrailError, match=r"w\.pth: (holds more than tensors, or is damaged|not a safetensors)"):
        convert("ghostnet", tmp_path / "w.pth", "ghost_vgg16", ARGUMENTS, 10, tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("w.safetensors", "this is the file that is read"),
        ("link.safetensors", "this is the file that is read"),
        ("folder/../w.safetensors", "this is the file that is read"),
        ("ours.pth", r"the name is to end in \.safetensors"),
        ("folder.safetensors", "not an ordinary file"),
        ("w.safetensors/ours.safetensors", "is no folder"),
    ],
)
def test_where_nothing_can_be_written_is_said_before_any_work(
    tmp_path: Path, network: nn.Module, monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    source = tmp_path / "w.safetensors"
    save_weights(source, published(network))
    (tmp_path / "link.safetensors").symlink_to(source)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.safetensors").mkdir()
    before = source.read_bytes()
    monkeypatch.delattr(converting, "build")
    with pytest.raises(UsageError, match=message):
        convert("ghostnet", source, "ghost_vgg16", ARGUMENTS, 10, tmp_path / out)
    assert source.read_bytes() == before


def test_the_hash_is_that_of_the_source_as_it_was_read(tmp_path: Path, network: nn.Module) -> None:
    save_weights(tmp_path / "w.safetensors", published(network))
    wanted = sha256_file(tmp_path / "w.safetensors")
    found = convert("ghostnet", tmp_path / "w.safetensors", "ghost_vgg16", ARGUMENTS, 10, tmp_path / "o.safetensors")
    assert found["source_sha256"] == wanted and found["sha256"] == sha256_file(tmp_path / "o.safetensors") != wanted


def test_missing_weights_are_named_before_a_network_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(measuring, "build")
    with pytest.raises(UsageError, match=r"nosuch\.safetensors: no such file"):
        accuracy_of("ghostnet", "ghost_vgg16", ARGS, tmp_path / "nosuch.safetensors", "mnist5k")


def test_a_damaged_or_missing_file_is_named(tmp_path: Path, network: nn.Module) -> None:
    source = tmp_path / "w.pth"
    torch.save(published(network), source)
    source.write_bytes(source.read_bytes()[:-4000])
    with pytest.raises(PapertrailError, match=r"w\.pth"):
        convert("ghostnet", source, "ghost_vgg16", ARGUMENTS, 10, tmp_path / "out.safetensors")
    with pytest.raises(UsageError, match="no such file"):
        convert("ghostnet", tmp_path / "nosuch.pth", "ghost_vgg16", ARGUMENTS, 10, tmp_path / "out.safetensors")
