"""Exports: what is written computes the same at any batch size, and nothing else is written."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from papers.adder_detection.adder import Adder2d
from shared.checkpoints import export as exporting
from shared.checkpoints.export import export
from shared.checkpoints.pin import pin
from shared.errors import PapertrailError, UsageError

from .conftest import REF, network_of


def read_back(file: Path) -> Callable[[Tensor], Tensor]:
    """The exported network, as somebody else would run it."""
    if file.suffix == ".pt2":
        return torch.export.load(file).module()
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_an_export_computes_the_same_at_any_batch_size(
    repository: Path, finished: Path, tmp_path: Path, suffix: str
) -> None:
    pin([finished])
    out = tmp_path / "out" / f"ghost.{suffix}"
    found = export(REF, out)
    assert found.form == {"onnx": "onnx", "pt2": "torch"}[suffix] and found.difference <= 1e-5
    assert [path.name for path in out.parent.iterdir()] == [out.name]
    ours, theirs = network_of(finished), read_back(out)
    for size in (1, 2, 8):
        images = torch.randn(size, 1, 28, 28)
        torch.testing.assert_close(theirs(images), ours(images), rtol=0, atol=1e-5)


def only(monkeypatch: pytest.MonkeyPatch, network: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> None:
    """The one checkpoint that there is."""
    monkeypatch.setattr(exporting, "load_checkpoint", lambda ref: (network.eval(), SimpleNamespace(input=shape)))


class Cancelling(nn.Module):
    """Large numbers whose differences are the output: float32 errs by some 1e-3."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1e4 / 3))

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.scale + 1 / 3 - images * (self.scale - 1)).flatten(1)


@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize("times", [2, 50])
def test_an_export_may_err_as_float32_itself_does_and_not_much_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, times: float
) -> None:
    network = Cancelling()
    only(monkeypatch, network)
    with torch.inference_mode():
        images = exporting.noise((3, 8, 8), seed=1, count=5)
        exact = Cancelling().double()(images.double())
        own = float((network(images) - exact).abs().max())
    assert own > 1e-4, "an absolute tolerance would refuse it"
    result = lambda batch: (exact[: len(batch)] + times * own).float()  # noqa: E731
    monkeypatch.setattr(exporting, {"onnx": "_onnx", "torch": "_program"}[form], lambda *what: (b"it", result))
    out = tmp_path / f"net.{'onnx' if form == 'onnx' else 'pt2'}"
    if times < exporting.MULTIPLE:
        assert export(REF, out).own_error == pytest.approx(own) and out.read_bytes() == b"it"
    else:
        with pytest.raises(PapertrailError, match="above 8 times that nothing is written"):
            export(REF, out)
        assert list(tmp_path.iterdir()) == []


class Fixed(nn.Module):
    """len() is a number of Python's: the program keeps the one that it was traced with."""

    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(len(images), -1)


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_what_takes_one_batch_size_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    only(monkeypatch, Fixed())
    with pytest.raises(PapertrailError, match="cannot be exported for any batch size"):
        export(REF, tmp_path / f"net.{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_adder_layers_are_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    torch.manual_seed(0)
    layers = [[Adder2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()] for i, o in ((3, 16), (16, 16), (16, 8))]
    network = nn.Sequential(*itertools.chain(*layers), nn.Flatten())
    only(monkeypatch, network)
    export(REF, tmp_path / f"net.{suffix}")
    images = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(read_back(tmp_path / f"net.{suffix}")(images), network(images), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("net.pt2", "onnx", "such a file is of the format `torch`, not `onnx`"),
        ("net.onnx", "torch", "such a file is of the format `onnx`, not `torch`"),
        ("net.pth", None, r"the name is to end in \.onnx, or in \.pt2"),
        ("net", "torch", r"the name is to end in \.onnx, or in \.pt2"),
        ("folder.onnx", None, "not an ordinary file"),
        ("file/net.onnx", None, "is no folder"),
    ],
)
def test_where_nothing_can_be_written_is_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, form: exporting.Form | None, message: str
) -> None:
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.delattr(exporting, "load_checkpoint")
    with pytest.raises(UsageError, match=message):
        export(REF, tmp_path / name, form)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.onnx"]


def test_a_missing_exporter_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PapertrailError, match=r"onnx is not installed: pip install 'papertrail\[export\]'"):
        export(REF, tmp_path / "net.onnx")
