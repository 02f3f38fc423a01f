from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from shared.errors import PapertrailError, UsageError
from shared.training.protocol import load_protocol, load_protocols

from .protocols import tiny


def written(folder: Path, change: dict[str, object]) -> Path:
    protocol = tiny().model_dump(mode="json")
    for dotted, value in change.items():
        *parents, key = dotted.split(".")
        place = protocol
        for parent in parents:
            place = place[parent]
        place[key] = value
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({"mini": protocol}))
    return path


def test_a_good_file_is_read_back_equal(tmp_path: Path) -> None:
    assert load_protocols(written(tmp_path, {})) == {"mini": tiny()}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipe.epoch": 3}, "mini: recipe.epoch: unknown key"),
        ({"recipe.batch_size": "many"}, "mini: recipe.batch_size"),
        ({"recipe.optimiser.lr": -1}, "mini: recipe.optimiser.lr"),
        ({"recipe.optimiser.name": "adam"}, "mini: recipe.optimiser.name"),
        ({"recipe.schedule.milestones": [3]}, "mini: recipe.schedule"),
        ({"recipe.steps": 7}, "give either `epochs` or `steps`"),
        ({"recipe.augment.pad_corp": 4}, "mini: recipe.augment.pad_corp: unknown key"),
        ({"arms.Ghost": {"builder": "x"}}, "mini: arms.Ghost"),
        ({"trainer.precision": "8-bit"}, "mini: trainer.precision"),
        ({"arms.none": {}}, "give either `builder` or `of`"),
        ({"arms.both": {"builder": "x", "of": "ghost"}}, "give either `builder` or `of`"),
        ({"arms.stray": {"builder": "x", "budget": "macs"}}, "belong to an arm that continues another"),
        ({"arms.more": {"of": "ghost", "args": {"width": 1}}}, "`args` belong to a `builder`"),
        ({"arms.lost": {"of": "gone"}}, "arm `lost` continues `gone`, which is no arm"),
        ({"arms.one": {"of": "two"}, "arms.two": {"of": "one"}}, "continues itself"),
        ({"arms.cut": {"of": "ghost", "weights": "random", "prune": {"by": "l1", "ratio": 0.5}}}, "trains nothing"),
        ({"arms.cut": {"of": "ghost", "prune": {"by": "l1", "ratio": 1}}}, "mini: arms.cut.prune.ratio"),
        ({"arms.cut": {"of": "ghost", "prune": {"by": "l1"}}}, "mini: arms.cut.prune: `by: l1` needs a `ratio`"),
        ({"arms.cut": {"of": "ghost", "prune": {"by": "gate"}}}, "has no `by: gate`; there are scale, l1, l2, taylor"),
        ({"recipe.method": {"name": "adder"}}, "has no `name: adder`; there is none"),
        ({"recipe.optimiser.momentum": 0, "recipe.optimiser.nesterov": True}, "`nesterov` needs a `momentum` above 0"),
        ({"recipe.optimiser.name": "adamw"}, "mini: recipe.optimiser: `momentum` does nothing in `adamw`; remove it"),
        ({"recipe.optimiser.betas": [0.5, 0.9]}, "`betas` does nothing in `sgd`"),
        ({"recipe.optimiser.lr": 0}, "mini: recipe.optimiser.lr"),
        ({"recipe.optimiser.lr": math.nan}, "mini: recipe.optimiser.lr"),
        ({"recipe.optimiser.lr": math.inf}, "mini: recipe.optimiser.lr"),
        ({"recipe.optimiser.lr": "fast"}, "mini: recipe.optimiser.lr: expected a number, found"),
        ({"recipe.epochs": 0}, "mini: recipe.epochs"),
        ({"recipe.epochs": True}, "mini: recipe.epochs: expected a number, found true"),
        ({"recipe.epochs": "3"}, "mini: recipe.epochs: expected a number, found"),
        ({"recipe.batch_size": 0}, "mini: recipe.batch_size"),
        ({"recipe.label_smoothing": 1.5}, "mini: recipe.label_smoothing"),
        ({"recipe.schedule.warmup_epochs": 4}, "schedule.warmup_epochs: 4.0 is not reached in a training of 3 epochs"),
        (
            {"recipe.schedule": {"name": "multistep", "milestones": [1, 3]}},
            "schedule.milestones: (1, 3) is not",
        ),
        ({"recipe.schedule": {"name": "step", "every": 3}}, "schedule.every: 3 is not reached in a training of 3"),
        (
            {"recipe.schedule": {"name": "linear", "gamma": 0.5}},
            "`gamma` and `unit` do nothing in the schedule",
        ),
        ({"recipe.schedule": {"name": "linear", "warmup_from": 0.5}}, "`warmup_from` needs `warmup_epochs` or"),
        (
            {"recipe.epochs": None, "recipe.steps": 9, "recipe.schedule": {"warmup_steps": 10}},
            "in a training of 9 steps",
        ),
        ({"recipe.augment.eval": {"resize": 24, "crop": 32}}, "mini: recipe.augment.eval: `crop` must not exceed"),
        ({"trainer.workers": -1}, "mini: trainer.workers"),
        ({"trainer.devices": 0}, "mini: trainer.devices"),
        ({"trainer.precision": "16-mixed"}, "mini: trainer: `precision: 16-mixed` needs a GPU"),
        ({"seed": -1}, "mini: seed"),
        ({"seed": 2**32}, "`seed` and `repeats`: seeds go from 0 to 4294967295"),
        ({"seed": 2**32 - 1, "repeats": 2}, "`seed` and `repeats`: seeds go from 0 to 4294967295"),
        ({"repeats": 0}, "mini: repeats"),
        ({"arms": {}}, "mini: arms"),
        ({"data": "no-such"}, "mini: data: no data set `no-such`"),
        ({"data": "digit_scenes"}, "mini: data: digit_scenes is a set with boxes, and no data for the task"),
        ({"arms.cut": {"of": "ghost", "prune": {"by": "l1", "ratio": {"a": 0.5}}}}, "needs `scope: layer`"),
        (
            {"arms.cut": {"of": "ghost", "prune": {"by": "magnitude", "ratio": 0.5, "shapes": "kept"}}},
            "one by one, not",
        ),
        (
            {
                "arms.cut": {"of": "ghost", "prune": {"by": "l1", "ratio": 0.5, "shapes": "kept"}},
                "arms.b": {"of": "cut", "weights": "random", "budget": "macs"},
            },
            "arm `b`: after `shapes: kept` no MACs are gone",
        ),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, change: dict[str, object], named: str) -> None:
    path = written(tmp_path, change)
    with pytest.raises(PapertrailError) as caught:
        load_protocols(path)
    assert str(path) in str(caught.value) and named in str(caught.value)


@pytest.mark.parametrize("content", ["", "# nothing yet", "[mini]", "mini", "{}"])
def test_a_file_without_protocols_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(PapertrailError, match=r"params\.yaml: expected one mapping of protocol names to protocols"):
        load_protocols(path)


@pytest.mark.parametrize("content", ["mini:", "mini: 3", "mini: [a]", "mini: {}"])
def test_a_protocol_of_nothing_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(content)
    with pytest.raises(PapertrailError, match=r"params\.yaml: mini: "):
        load_protocols(path)


def test_what_a_schedule_counts_otherwise_than_its_recipe_is_held_to_the_data() -> None:
    epochs = tiny(schedule={"name": "cosine", "warmup_steps": 30}).recipe
    epochs.check_length(10)
    with pytest.raises(UsageError, match=r"recipe\.schedule\.warmup_steps: 30 is not reached in a training of 27"):
        epochs.check_length(9)
    steps = tiny(epochs=None, steps=11, schedule={"name": "multistep", "milestones": [1]}).recipe  # type: ignore[arg-type]
    steps.check_length(10)
    with pytest.raises(UsageError, match=r"schedule\.milestones: \(1,\) is not reached in a training of 1 epochs"):
        steps.check_length(11)


def test_broken_yaml_and_unknown_protocols_are_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("mini: [1,")
    with pytest.raises(PapertrailError, match=r"params\.yaml: not valid YAML"):
        load_protocols(path)
    with pytest.raises(UsageError, match="no protocol `maxi`; there are mini"):
        load_protocol(written(tmp_path, {}), "maxi")


def test_arms_that_continue_others_know_where_they_come_from(tmp_path: Path) -> None:
    longer = tiny(epochs=9).recipe.model_dump(mode="json")
    change: dict[str, object] = {
        "arms.cut": {"of": "ghost", "prune": {"by": "l1", "ratio": 0.5}},
        "arms.tuned": {"of": "cut", "recipe": longer},
    }
    plan = load_protocol(written(tmp_path, change), "mini")
    assert plan.lineage("tuned") == ["ghost", "cut", "tuned"]
    assert plan.origin("tuned") == plan.arms["ghost"] == plan.origin("ghost")
    assert [plan.action(arm) for arm in ("ghost", "cut", "tuned")] == ["train", "prune", "train"]
    assert (plan.recipe_of("ghost"), plan.recipe_of("tuned")) == (plan.recipe, tiny(epochs=9).recipe)
