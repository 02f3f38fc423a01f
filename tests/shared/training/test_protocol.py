"""What belongs to a task: a recipe of another task, or a key that the task would ignore, is refused and named."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from shared.datasets.augment import Augment
from shared.errors import PapertrailError, UsageError
from shared.schema import validated
from shared.training import tasks
from shared.training.classification import TASK, ClassificationRecipe
from shared.training.plan import starts
from shared.training.protocol import Protocol, input_shape
from shared.training.recipe import Recipe, Schedule, completed
from shared.training.tasks import task, task_of

from .protocols import tiny


class OutlineRecipe(Recipe):
    task: Literal["outlines"]
    size: int


@pytest.fixture(autouse=True)
def outlines(monkeypatch: pytest.MonkeyPatch) -> None:
    """One entry in the table is all that another task takes."""
    made = dataclasses.replace(
        TASK, name="outlines", recipe=OutlineRecipe, hardware=frozenset({"workers"}), continues=False
    )
    monkeypatch.setitem(sys.modules, "outlines", type(sys)("outlines"))
    monkeypatch.setattr(sys.modules["outlines"], "TASK", made, raising=False)
    monkeypatch.setitem(tasks.TASKS, "outlines", "outlines")


RECIPE: dict[str, Any] = {"task": "outlines", "size": 9, "batch_size": 2, "optimiser": {"name": "sgd", "lr": 0.1}}


def stated(**changes: Any) -> dict[str, Any]:
    return {"what": "x", "data": "mnist5k", "recipe": RECIPE, "arms": {"one": {"builder": "x"}}} | changes


def test_the_recipe_is_of_the_task_that_it_names() -> None:
    protocol = Protocol.model_validate(stated())
    assert isinstance(protocol.recipe, OutlineRecipe) and task_of(protocol.recipe).name == "outlines"
    assert protocol.model_dump(mode="json")["recipe"]["size"] == 9, "its own keys are part of every plan"
    assert isinstance(tiny().recipe, ClassificationRecipe)
    with pytest.raises(UsageError, match="no task `sounds`; there are classification, detection, outlines"):
        task("sounds")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe": RECIPE | {"augment": {}}}, "recipe.augment"),
        ({"recipe": RECIPE | {"task": "sounds"}}, "no task `sounds`"),
        ({"trainer": {"devices": 8}}, "trainer.devices: a run of the task `outlines` does not heed it"),
        ({"trainer": {"workers": 2, "precision": "16-mixed"}}, "trainer.precision"),
        ({"arms": {"one": {"builder": "x"}, "two": {"of": "one"}}}, "arms.two.of: an arm of the task `outlines`"),
        ({"arms": {"one": {"builder": "x", "begin": "a/y"}}}, "arms.one.begin: an arm of the task `outlines`"),
        (
            {"arms": {"one": {"builder": "x", "recipe": tiny().recipe.model_dump()}}},
            "arms.one.recipe.task: the arm's recipe is of `classification`, the protocol's is `outlines`",
        ),
        ({"arms": {"one": {"builder": "x", "recipe": RECIPE | {"sise": 3}}}}, "arms.one.recipe.sise"),
    ],
)
def test_what_the_task_would_ignore_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(PapertrailError) as caught:
        validated(Protocol, stated(**change), "mini")
    assert named in str(caught.value)


def test_an_arm_states_what_of_its_recipe_is_other_than_the_protocols() -> None:
    recipe = {
        "epochs": 160, "batch_size": 64, "optimiser": {"name": "sgd", "lr": 0.1, "momentum": 0.9},
        "schedule": {"name": "step", "every": 30}, "augment": {"flip": True},
    }  # fmt: skip
    own = {"epochs": 40, "optimiser": {"lr": 0.01}, "schedule": {"name": "constant"}, "augment": {"pad_crop": 4}}
    arms = {"one": {"builder": "x"}, "two": {"builder": "x", "recipe": own}}
    protocol = Protocol.model_validate(stated(arms=arms, recipe=recipe))
    two = protocol.recipe_of("two")
    assert protocol.recipe_of("one") == protocol.recipe
    assert (two.epochs, two.batch_size, two.optimiser.lr, two.optimiser.momentum) == (40, 64, 0.01, 0.9)
    assert two.schedule == Schedule(), "it has a name of its own, and so nothing of the other"
    assert two.augment == Augment(flip=True, pad_crop=4)
    assert Protocol.model_validate(protocol.model_dump()) == protocol


@pytest.mark.parametrize(
    ("arm", "named"),
    [
        ({"begin": "a/resnet20"}, "give either `builder` or `of`"),
        ({"of": "one", "begin": "a/resnet20"}, "`begin` belongs to a `builder`"),
        (
            {"builder": "x", "begin": "a/y", "weights": "random"},
            "`weights` and `budget` belong to an arm that continues",
        ),
        ({"builder": "x", "prune": {"by": "l1", "ratio": 0.5}}, "`prune` belongs to an arm that continues"),
        ({"of": "given", "weights": "initial"}, "arms.two.weights: what `given` begins with is trained already"),
    ],
)
def test_what_an_arm_begins_with_is_said_once(arm: dict[str, Any], named: str) -> None:
    arms = {"one": {"builder": "x"}, "given": {"builder": "x", "begin": "a/y"}, "two": arm}
    with pytest.raises(PapertrailError) as caught:
        validated(Protocol, stated(arms=arms, recipe=tiny().recipe.model_dump()), "mini")
    assert named in str(caught.value)


def test_a_budget_of_macs_needs_epochs() -> None:
    arms = {"one": {"builder": "x"}, "two": {"of": "one", "weights": "random", "budget": "macs"}}
    with pytest.raises(ValidationError, match="arm `two`: `budget: macs` multiplies epochs"):
        Protocol.model_validate(stated(arms=arms, recipe=tiny(epochs=None, steps=9).recipe.model_dump()))  # type: ignore[arg-type]


def test_an_arm_that_prunes_is_measured_as_the_one_before_it_was_trained() -> None:
    """Its link in the plan names no recipe: that of the link before, which the record is held to, is the one."""
    recipe = tiny().recipe.model_dump(mode="json")
    own = recipe | {"augment": {"random_resized_crop": {"size": 24}}}
    arms = {
        "one": {"builder": "x", "recipe": own},
        "less": {"of": "one", "prune": {"by": "l1", "ratio": 0.5}},
        "least": {"of": "less", "prune": {"by": "l1", "ratio": 0.5}},
        "tuned": {"of": "least"},
    }
    protocol = Protocol.model_validate(stated(arms=arms, recipe=recipe))
    assert protocol.recipe_of("least") == protocol.recipe_of("one") != protocol.recipe_of("tuned") == protocol.recipe
    assert [input_shape(protocol, arm)[1:] for arm in ("least", "tuned")] == [(24, 24), (28, 28)]


def test_a_record_is_completed_by_younger_keys_alone() -> None:
    recipe = tiny().recipe
    whole = recipe.model_dump(mode="json")
    old = {key: value for key, value in whole.items() if key not in ("clip", "method", "distil")}
    old["augment"] = {"pad_crop": 2}
    old["optimiser"] = {key: value for key, value in old["optimiser"].items() if key != "layer_decay"}
    assert completed(old, recipe) == whole
    assert completed(old | {"batch_size": 7, "gone": 1}, recipe) == whole | {"batch_size": 7, "gone": 1}


def test_the_code_of_an_arm_starts_from_what_is_found_by_name() -> None:
    protocol = tiny()
    common = {
        "shared.training.__main__",
        "shared.training.classification",
        "shared.datasets.mnist5k",
        "papers.ghostnet",
    }
    assert set(starts("ghostnet", protocol, "ghost", "evaluate")) == common | {"shared.training.accuracy"}
    common.add("shared.training.fit")
    teaching = tiny(distil={"teacher": "eca_net/eca-small-0", "weight": 0.5})
    assert set(starts("ghostnet", teaching, "ghost", "train")) == common | {"papers.eca_net"}
    assert set(starts("ghostnet", protocol, "ghost", "train")) == common
    more = protocol.model_copy(
        update={
            "arms": protocol.arms | {"next": protocol.arms["ghost"].model_copy(update={"of": "ghost", "builder": ""})}
        }
    )
    assert set(starts("ghostnet", more, "next", "train")) == common | {"shared.compression.continued"}
