"""Published weights, read without running any code of theirs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from papers.ghostnet import MODELS
from shared.checkpoints.accuracy import accuracy_of
from shared.checkpoints.convert import convert
from shared.datasets.augment import Augment
from shared.errors import PapertrailError, UsageError
from shared.training.accuracy import seen
from shared.weights.storage import load_weights, save_weights

from .conftest import ARGS


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
    "form", ["plain.pth", "wrapped.pth", "parallel.pth", "old.pth", "plain.safetensors", "no-suffix"]
)
def test_every_form_that_weights_are_published_in_is_read(tmp_path: Path, network: nn.Module, form: str) -> None:
    source, out = tmp_path / form, tmp_path / "ours.safetensors"
    state = published(network)
    if form == "plain.safetensors":
        save_weights(source, state)
    elif form == "wrapped.pth":
        torch.save({"epoch": 3, "state_dict": state}, source)
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
        ({"net.other": torch.zeros(1)}, "it has no tensor"),
    ],
)
def test_what_is_no_fitting_dictionary_of_tensors_is_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(PapertrailError, match=rf"w\.pth: {message}"):
        convert("ghostnet", tmp_path / "w.pth", "ghost_vgg16", ARGUMENTS, 10, tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_a_damaged_or_missing_file_is_named(tmp_path: Path, network: nn.Module) -> None:
    source = tmp_path / "w.pth"
    torch.save(published(network), source)
    source.write_bytes(source.read_bytes()[:-4000])
    with pytest.raises(PapertrailError, match=r"w\.pth"):
        convert("ghostnet", source, "ghost_vgg16", ARGUMENTS, 10, tmp_path / "out.safetensors")
    with pytest.raises(UsageError, match="no such file"):
        convert("ghostnet", tmp_path / "nosuch.pth", "ghost_vgg16", ARGUMENTS, 10, tmp_path / "out.safetensors")
