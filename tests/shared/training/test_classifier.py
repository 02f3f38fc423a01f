"""Losses, accumulation and clipping of a classifier's training, against their formulas."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared import datasets
from shared.errors import UsageError
from shared.training import classifier as module
from shared.training.classification import ClassificationRecipe, Distil
from shared.training.classifier import Classifier, load_teacher, softened
from shared.training.method import Method

from .protocols import Linear, tiny

PLAIN: dict[str, Any] = {
    "optimiser": {"name": "sgd", "lr": 1.0},
    "schedule": {"name": "constant"},
    "augment": {},
    "label_smoothing": 0.0,
    "ema_decay": None,
    "epochs": None,
}


def weights(folder: Path, **recipe: Any) -> Tensor:
    """(10 x 784 + 10,): what one training leaves."""
    run = Linear("ghostnet", "tiny", tiny(**PLAIN | recipe), "ghost", 0)
    return nn.utils.parameters_to_vector(run.fit(folder).model.parameters()).detach()


def test_accumulated_batches_make_the_step_of_the_whole(tmp_path: Path) -> None:
    whole = weights(tmp_path / "whole", batch_size=200, steps=3)
    parts = weights(tmp_path / "parts", batch_size=50, accumulate=4, steps=3)
    torch.testing.assert_close(parts, whole)
    assert not torch.allclose(weights(tmp_path / "other", batch_size=50, steps=3), whole)


def test_clipping_limits_the_length_of_a_step(tmp_path: Path) -> None:
    run = Linear("ghostnet", "tiny", tiny(), "ghost", 0)
    begun = nn.utils.parameters_to_vector(run.build().parameters()).detach()
    free, short = (weights(tmp_path / str(clip), steps=1, clip=clip) - begun for clip in (None, 1e-3))
    assert float(free.norm()) > 0.1 and float(short.norm()) == pytest.approx(1e-3, rel=1e-3)
    torch.testing.assert_close(short / short.norm(), free / free.norm(), rtol=1e-3, atol=1e-5)


def test_a_student_learns_from_labels_and_softened_logits() -> None:
    torch.manual_seed(0)
    student, teacher, images, labels = nn.Linear(6, 4), nn.Linear(6, 4), torch.randn(5, 6), torch.arange(5) % 4
    recipe = ClassificationRecipe.model_validate(
        {
            "epochs": 1,
            "batch_size": 5,
            "optimiser": {"name": "sgd", "lr": 0.1},
            "distil": {"teacher": "ghostnet/any", "weight": 0.3, "temperature": 4.0},
        }
    )
    one = Classifier(student, recipe, classes=4, seed=0, steps_per_epoch=1, teacher=lambda x: teacher(x).detach())
    one.memory_format = torch.preserve_format
    found = one.training_step((images, labels), 0)
    ours, theirs = (functional.softmax(network(images) / 4, 1) for network in (student, teacher))
    divergence = (theirs * (theirs.log() - ours.log())).sum(1).mean()
    wanted = 0.7 * functional.cross_entropy(student(images), labels) + 0.3 * 16 * divergence
    torch.testing.assert_close(found, wanted)
    assert float(softened(student(images), student(images), 2.0)) == pytest.approx(0, abs=1e-6)
    assert not any("teacher" in name for name in one.state_dict())


def test_a_teacher_is_a_kept_checkpoint_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Linear(3, 10)
    digits = datasets.spec("mnist5k")
    card = SimpleNamespace(classes=10, input=(1, 1, 3), data="mnist5k")
    monkeypatch.setattr(module, "load_checkpoint", lambda ref: (network, card))
    answer = load_teacher("a/b", digits, (1, 1, 3))(torch.randn(4, 3))
    assert answer.shape == (4, 10) and not answer.requires_grad
    with pytest.raises(UsageError, match=r"recipe\.distil\.teacher: a/b is for 10 classes"):
        load_teacher("a/b", digits.model_copy(update={"classes": 2}), (1, 1, 3))
    with pytest.raises(UsageError, match=r"of mean \(0\.5,\)"):
        load_teacher("a/b", digits.model_copy(update={"mean": (0.5,)}), (1, 1, 3))
    assert ClassificationRecipe(
        epochs=1,
        batch_size=2,
        optimiser={"name": "sgd", "lr": 1},
        distil=Distil(teacher="a/b", weight=1),  # type: ignore[arg-type]
    ).reads() == ("a/b",)


class Counting(Method):
    """Tells how often each hook was called, in a state that a resumed run goes on with."""

    name: str = "counting"

    def attach(self, network: nn.Module) -> None:
        network.register_buffer("epochs", torch.zeros(()))
        network.register_buffer("steps", torch.zeros(()))

    def after_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        network.steps += 1  # type: ignore[operator]

    def after_epoch(self, network: nn.Module) -> None:
        network.epochs += 1  # type: ignore[operator]

    def metrics(self, network: nn.Module) -> dict[str, float]:
        return {"epochs": float(network.epochs), "steps": float(network.steps)}  # type: ignore[arg-type]

    def finish(self, network: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        return nn.Linear(1, 1), {"width": 0.5}


def test_the_hooks_of_a_method_come_in_their_order(tmp_path: Path) -> None:
    run = Linear("ghostnet", "tiny", tiny(**PLAIN | {"steps": 14, "batch_size": 400, "method": Counting()}), "ghost", 0)
    outcome = run.fit(tmp_path)
    told = [(row["test_epochs"], row["test_steps"]) for row in outcome.curves]
    assert told == [(1, 10), (2, 14)], "an epoch's end comes before its evaluation, also where the steps end within one"
    assert isinstance(outcome.model, nn.Linear) and outcome.changes == {"width": 0.5}
