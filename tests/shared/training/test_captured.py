"""A captured training step ends where the eager one does, to the bit, with a stand-in that repeats it on the CPU.

What only a GPU can show stands in test_graph_gpu.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from papers.rethinking_pruning.method import Gates, SoftFilters
from shared.errors import PapertrailError
from shared.files import read_json
from shared.training import classifier, fit
from shared.training.captured import obstacle
from shared.training.classifier import DivergedError
from shared.training.fit import ClassificationRun
from shared.training.graph import REHEARSALS, Captured, first_cause
from shared.training.method import Method
from shared.training.run import Outcome, train_run

from .protocols import Linear, tiny


class Again:
    """Stands for a GPU: what was recorded is done again on the same tensors."""

    repeated = 0

    def __init__(self, device: torch.device) -> None:
        assert device.type == "cpu"

    def rehearse(self, function: Callable[[], Tensor], *, last: bool) -> Tensor:
        return function()

    def record(self, function: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def repeat() -> Tensor:
            Again.repeated += 1
            return function()

        return repeat


class Pull(Method):
    """A term, a change of the gradients and one of the weights, all of which a graph can hold."""

    capturable: ClassVar[bool] = True
    name: str = "pull"

    def loss(self, network: nn.Module) -> Tensor:
        return 1e-3 * sum(parameter.square().sum() for parameter in network.parameters())  # type: ignore[return-value]

    def before_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(0.5)

    @torch.no_grad()
    def after_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        for parameter in network.parameters():
            parameter.mul_(0.999)


class Mixed(ClassificationRun):
    """Batch statistics and dropout."""

    def build(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=4),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(196, 10),
        )


ADAMW = {"name": "adamw", "lr": 0.01, "weight_decay": 0.05}
RECIPES: dict[str, dict[str, Any]] = {
    "as the tests have it: SGD, momentum, label smoothing, averages": {},
    "Nesterov, constant": {
        "optimiser": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
        "schedule": {"name": "constant"},
    },
    "AdamW, clipped": {"optimiser": ADAMW, "clip": 0.5},
    "RMSprop": {"optimiser": {"name": "rmsprop", "lr": 0.001, "momentum": 0.9}},
    "a method": {"method": Pull(), "ema_decay": None},
    "a smaller last batch, ended within an epoch": {"batch_size": 300, "epochs": None, "steps": 20},
    "half precision": {"trainer": {"precision": "bf16-mixed"}, "clip": 0.5},
}


def outcome(folder: Path, recipe: dict[str, Any], kind: type[ClassificationRun] = Mixed) -> Outcome:
    return kind("ghostnet", "tiny", tiny(**{"epochs": 2, "batch_size": 500} | recipe), "ghost", 0).fit(folder)


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "graphs", lambda *_: Again)
    monkeypatch.setattr(Again, "repeated", 0)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_captured_step_is_the_eager_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any]
) -> None:
    eager = outcome(tmp_path / "eager", recipe)
    monkeypatch.setattr(fit, "graphs", lambda *_: Again)
    monkeypatch.setattr(Again, "repeated", 0)
    ours = outcome(tmp_path / "captured", recipe)
    steps = int(eager.curves[-1]["step"])
    small = 1 if "steps" in recipe else 0
    assert Again.repeated == steps - REHEARSALS - small > 0
    assert ours.curves == eager.curves
    for name, value in eager.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], value), name


def test_a_killed_captured_run_goes_on_eagerly_or_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Mixed("ghostnet", "tiny", tiny(epochs=3, batch_size=500, optimiser=ADAMW), "ghost", 0)
    monkeypatch.setattr("shared.closure.digest", lambda starts: "of the code")
    train_run(one, tmp_path / "eager" / "seeds" / "0")
    replace = os.replace

    def killed(source: str, target: Path) -> None:
        replace(source, target)
        if Path(target).name == "resume.ckpt":
            raise KeyboardInterrupt

    for first, then in ((Again, Again), (Again, None), (None, Again)):
        folder = tmp_path / f"{first} {then}" / "seeds" / "0"
        monkeypatch.setattr(fit, "graphs", lambda *_, kind=first: kind)
        with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, SystemExit)):
            patch.setattr(os, "replace", killed)
            train_run(one, folder)
        assert (folder / "resume.ckpt").exists()
        monkeypatch.setattr(fit, "graphs", lambda *_, kind=then: kind)
        train_run(one, folder)
        found, wanted = (read_json(place / "run.json") for place in (folder, tmp_path / "eager" / "seeds" / "0"))
        assert (found["sha256"], found["curves"]) == (wanted["sha256"], wanted["curves"])


@pytest.mark.parametrize("look", [1, 3, 50])
def test_a_loss_that_is_not_a_number_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, captured: None, look: int
) -> None:
    """The step that is named is that of the loss, however late it is looked at; an epoch has eight."""
    monkeypatch.setitem(classifier.LOOK, "cpu", look)
    looked: list[int] = []
    watch = classifier.Classifier._look
    monkeypatch.setattr(classifier.Classifier, "_look", lambda self: (looked.append(self.global_step), watch(self)))
    steep = {"optimiser": {"name": "sgd", "lr": 1e38}, "schedule": {"name": "constant"}, "ema_decay": None}
    one = Linear("ghostnet", "tiny", tiny(batch_size=500, **steep), "ghost", 0)
    named = r"the loss is (nan|inf) at step 1 \(epoch 0\) with learning rate 1e\+38; lower recipe\.optimiser\.lr"
    with pytest.raises(DivergedError, match=named):
        train_run(one, tmp_path / "seeds" / "0")
    assert looked[-1] == {1: 1, 3: 2, 50: 8}[look], "by the number of steps that are made"
    assert not (tmp_path / "seeds/0/resume.ckpt").exists()


def test_a_step_that_cannot_be_captured_says_so_once_and_is_eager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    eager = outcome(tmp_path / "eager", {})

    def refuse(self: Again, function: Callable[[], Tensor]) -> Any:
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        finally:
            raise RuntimeError("the capture was invalidated")  # as leaving it does

    monkeypatch.setattr(Again, "record", refuse)
    monkeypatch.setattr(fit, "graphs", lambda *_: Again)
    capsys.readouterr()
    ours = outcome(tmp_path / "captured", {})
    told = "trained eagerly, the step is no CUDA graph: operation not permitted when stream is capturing\n"
    assert capsys.readouterr().out == told
    assert ours.curves == eager.curves


@pytest.mark.parametrize(
    ("trainer", "recipe", "reason"),
    [
        ({"devices": 2, "accelerator": "gpu"}, {}, "several processes"),
        ({"precision": "16-mixed", "accelerator": "gpu"}, {}, "16-mixed"),
        ({}, {"accumulate": 2}, "`accumulate`"),
        ({}, {"method": SoftFilters(name="soft-filters", share=0.1), "ema_decay": None}, None),
        ({}, {"method": Gates(name="gates", penalty=0.1), "ema_decay": None}, None),
        ({}, {"method": Pull()}, None),
        ({}, {}, None),
    ],
)
def test_what_is_known_to_stand_in_the_way(trainer: dict[str, Any], recipe: dict[str, Any], reason: str | None) -> None:
    protocol = tiny(trainer=trainer, **recipe)
    found = obstacle(protocol.recipe, protocol.trainer)  # type: ignore[arg-type]
    assert found is None if reason is None else reason in str(found)


def test_a_method_whose_hooks_nobody_vouches_for_is_eager() -> None:
    class Silent(Pull):
        capturable: ClassVar[bool] = False

    found = obstacle(tiny(method=Silent()).recipe, tiny().trainer)  # type: ignore[arg-type]
    assert found == "the method `pull` does not say that a graph can hold its loss and before_step and after_step"


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"graph": True, "accelerator": "cpu"}, "`graph: true` needs a GPU; remove it"),
        ({"graph": True, "accelerator": "gpu", "precision": "16-mixed"}, "does not go with `precision: 16-mixed`"),
        ({"graph": True, "accelerator": "gpu", "devices": 2}, "`graph: true` is for one GPU"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny(trainer=trainer)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_graph_without_a_gpu_is_an_error_and_none_is_stated_nothing(tmp_path: Path) -> None:
    with pytest.raises(PapertrailError, match=r"trainer\.graph: a CUDA graph needs a GPU, and none is here"):
        outcome(tmp_path, {"trainer": {"accelerator": "auto", "graph": True}})
    assert outcome(tmp_path, {"epochs": 1, "trainer": {"accelerator": "auto", "graph": False}}, Linear).curves


def test_a_function_is_called_once_for_each_call_and_its_inputs_are_copied() -> None:
    calls: list[float] = []

    def function(value: Tensor) -> Tensor:
        calls.append(float(value))
        return value * 2

    one = Captured(function, Again(torch.device("cpu")))
    for number in range(REHEARSALS):
        assert not one.due and one(torch.tensor(float(number))) == 2 * number
    assert one.due and one.fits([torch.tensor(9.0)])
    assert not one.fits([torch.ones(2)]) and not one.fits([torch.tensor(9)])
    one.record()
    assert not one.due and calls == [0, 1, 2]
    first, second = one(torch.tensor(3.0)), one(torch.tensor(4.0))
    assert (first, second) == (6, 8), "what was given stays"
    assert calls == [0, 1, 2, 3, 4]


def test_the_first_cause_is_told() -> None:
    try:
        try:
            raise ValueError("first\nmore")
        finally:
            raise KeyError("second")
    except KeyError as error:
        assert first_cause(error) == "first"
    assert first_cause(RuntimeError()) == "RuntimeError"
