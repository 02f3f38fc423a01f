"""CUDA graphs of functions and of whole training steps, on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.rethinking_pruning.method import Gates
from shared.baselines.resnet_cifar import CifarResNet
from shared.training import classifier
from shared.training.classifier import DivergedError
from shared.training.fit import ClassificationRun
from shared.training.graph import REHEARSALS, Captured, CudaGraphs
from shared.training.run import Outcome, train_run

from .protocols import tiny

if not torch.cuda.is_available():
    pytest.skip("it takes a GPU", allow_module_level=True)

GPU = {"accelerator": "gpu"}
REFUSAL = "trained eagerly, the step is no CUDA graph: "


class Mixed(ClassificationRun):
    """Batch statistics, and dropout where a test asks for it."""

    dropout = 0.0

    def build(self) -> nn.Module:
        torch.manual_seed(self.seed)
        first = nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU()
        return nn.Sequential(*first, nn.Dropout(self.dropout), nn.Flatten(), nn.Linear(196, 10))


class Dropping(Mixed):
    dropout = 0.3


class Waiting(Mixed):
    def build(self) -> nn.Module:
        network = super().build()
        network.register_forward_hook(lambda module, images, logits: logits * (1.0 if float(logits.sum()) else 2.0))
        return network


class Broken(Mixed):
    """Fails where a graph is recorded, and nowhere else."""

    def build(self) -> nn.Module:
        network = super().build()

        def refuse(*_: Any) -> None:
            if torch.cuda.is_current_stream_capturing():
                raise RuntimeError("no graph of this\nnor of anything")

        network[-1].register_forward_hook(refuse)
        return network


class DrawingOnTheCpu(Mixed):
    def build(self) -> nn.Module:
        network = super().build()
        network.register_forward_hook(lambda module, images, logits: logits * (1 + 0 * torch.rand(()).item()))
        return network


class Gated(Mixed):
    """Residual branches behind gates, which their method moves after the optimiser."""

    def build(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return CifarResNet(20, width=0.25, gates=True, in_channels=1)


def outcome(folder: Path, kind: type[ClassificationRun] = Mixed, *, graph: bool, **recipe: Any) -> Outcome:
    trainer = GPU | recipe.pop("trainer", {}) | {"graph": graph}
    torch.backends.cudnn.deterministic = True
    return kind(
        "ghostnet", "tiny", tiny(**{"epochs": 2, "batch_size": 500, "trainer": trainer} | recipe), "ghost", 0
    ).fit(folder)


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"optimiser": {"name": "adamw", "lr": 0.01, "weight_decay": 0.05}, "clip": 0.5},
        {"optimiser": {"name": "rmsprop", "lr": 0.001, "momentum": 0.9}},
        {"batch_size": 300, "epochs": None, "steps": 20},
        {"trainer": {"precision": "bf16-mixed", "channels_last": True}},
    ],
    ids=["sgd", "adamw", "rmsprop", "a smaller last batch", "bf16"],
)
@pytest.mark.parametrize("kind", [Mixed, Dropping])
def test_a_captured_run_is_the_eager_one_to_rounding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: type[Mixed], recipe: dict[str, Any]
) -> None:
    eager = outcome(tmp_path / "eager", kind, graph=False, **recipe)
    ours = outcome(tmp_path / "graph", kind, graph=True, **recipe)
    assert REFUSAL not in capsys.readouterr().out
    rough = 2e-2 if "trainer" in recipe else 1e-3
    for row, other in zip(ours.curves, eager.curves, strict=True):
        assert row["lr"] == other["lr"] and row["step"] == other["step"]
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=rough)
        assert row["test_loss"] == pytest.approx(other["test_loss"], rel=10 * rough)


def test_dropout_draws_other_numbers_every_time_those_that_it_would_draw_eagerly() -> None:
    def function(image: Tensor) -> Tensor:
        return nn.functional.dropout(image, 0.5)

    ones = torch.ones(1000, device="cuda")
    torch.manual_seed(3)
    eager = [function(ones) for _ in range(REHEARSALS + 3)]
    torch.manual_seed(4)
    reseeded = function(ones)
    one = Captured(function, CudaGraphs(ones.device))
    torch.manual_seed(3)
    found = [one(ones) for _ in range(REHEARSALS)]
    one.record()
    found += [one(ones) for _ in range(3)]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, eager, strict=True))
    assert not torch.equal(found[-1], found[-2])
    torch.manual_seed(4)
    assert torch.equal(one(ones), reseeded), "a seed that is set between two steps is heeded"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Waiting, "it waits for the GPU ("),
        (DrawingOnTheCpu, "it draws random numbers on the CPU"),
        (Broken, "no graph of this\n"),
    ],
)
def test_a_network_that_cannot_be_captured_is_trained_eagerly_and_says_so_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: type[Mixed], reason: str
) -> None:
    eager = outcome(tmp_path / "eager", kind, graph=False)
    capsys.readouterr()
    ours = outcome(tmp_path / "graph", kind, graph=True)
    told = capsys.readouterr().out
    assert told.count(REFUSAL) == 1 and REFUSAL + reason in told
    assert ours.curves[-1]["train_loss"] == pytest.approx(eager.curves[-1]["train_loss"], rel=1e-3)


def test_random_numbers_are_drawn_as_before_when_a_capture_failed() -> None:
    image = torch.ones(1000, device="cuda")

    def function(image: Tensor) -> Tensor:
        result = nn.functional.dropout(image, 0.5)
        if torch.cuda.is_current_stream_capturing():
            raise RuntimeError("no")
        return result

    one = Captured(function, CudaGraphs(image.device))
    torch.manual_seed(5)
    eager = [function(image) for _ in range(REHEARSALS + 1)]
    torch.manual_seed(5)
    for _ in range(REHEARSALS):
        one(image)
    with pytest.raises(RuntimeError):
        one.record()
    assert torch.equal(function(image), eager[-1])


def test_a_method_that_keeps_its_own_state_is_captured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes: dict[str, Any] = {"method": Gates(name="gates", penalty=0.01), "ema_decay": None}
    eager, ours = (outcome(tmp_path / str(graph), Gated, graph=graph, **changes) for graph in (False, True))
    assert REFUSAL not in capsys.readouterr().out
    assert ours.curves[-1]["train_loss"] == pytest.approx(eager.curves[-1]["train_loss"], rel=2e-2)
    gates = [
        torch.stack([value for name, value in one.model.state_dict().items() if name.endswith("gate")]).cpu()
        for one in (ours, eager)
    ]
    torch.testing.assert_close(*gates, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("graph", [False, True])
def test_a_loss_that_is_not_a_number_is_noticed_within_the_stated_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: bool
) -> None:
    monkeypatch.setitem(classifier.LOOK, "cuda", 5)
    steep = {"optimiser": {"name": "sgd", "lr": 1e38}, "schedule": {"name": "constant"}, "ema_decay": None}
    one = Mixed("ghostnet", "tiny", tiny(batch_size=500, trainer=GPU | {"graph": graph}, **steep), "ghost", 0)
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at step [1-4] "):
        train_run(one, tmp_path / "seeds" / "0")
    assert not (tmp_path / "seeds/0/resume.ckpt").exists()


def test_an_eager_step_does_not_wait_for_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's own part of a step is in it."""
    batches: list[str] = []
    whole = classifier.Classifier.training_step

    def watched(self: classifier.Classifier, batch: Any, number: int) -> Tensor:
        torch.cuda.set_sync_debug_mode("error" if 2 <= number < 6 else "default")
        batches.append("seen")
        return whole(self, batch, number)

    monkeypatch.setattr(classifier.Classifier, "training_step", watched)
    try:
        outcome(tmp_path, graph=False, epochs=1, augment={"pad_crop": 2, "flip": True, "cutout": 4})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(batches) == 8
