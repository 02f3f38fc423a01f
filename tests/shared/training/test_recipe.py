from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from shared.errors import PapertrailError, UsageError
from shared.training.recipe import load_protocol, load_protocols

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
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, change: dict[str, object], named: str) -> None:
    path = written(tmp_path, change)
    with pytest.raises(PapertrailError) as caught:
        load_protocols(path)
    assert str(path) in str(caught.value) and named in str(caught.value)


def test_broken_yaml_and_unknown_protocols_are_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("mini: [1,")
    with pytest.raises(PapertrailError, match=r"params\.yaml: not valid YAML"):
        load_protocols(path)
    with pytest.raises(UsageError, match="no protocol `maxi`; it has mini"):
        load_protocol(written(tmp_path, {}), "maxi")
