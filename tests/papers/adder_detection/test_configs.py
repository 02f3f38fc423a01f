from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmcv.ops")

from shared.detection import config as recipes
from shared.files import ROOT
from shared.layers.adder import Adder2d

CONFIGS = sorted((ROOT / "papers" / "adder_detection" / "configs").glob("*.py"))
# What a detector that trains in seconds on one core is asked for: a narrow, shallow backbone and few channels.
SMALL = {"depth": 18, "width": 0.25}
RECIPES = {"fcos_rt": (48, (736, 512)), "retinanet_ms_640": (50, (640, 640))}
SWITCHED = pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)


@pytest.fixture(autouse=True)
def adding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The switch at the paper's usual place: adder backbone, adder neck, R-PAFPN with shortcuts."""
    for name, value in {"ADDER": "B+N", "NECK": "r-pafpn", "SHORTCUTS": "1", "DEPTH": "18"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("EPOCHS", raising=False)


def test_there_is_a_recipe_for_every_detector_of_tables_3_5_and_6() -> None:
    found = {recipes.load(file).model.detector for file in CONFIGS}
    assert found == {
        "atss", "faster_rcnn", "fcos", "foveabox", "gfl", "reppoints", "retinanet", "sparse_rcnn", "vfnet",
    }  # fmt: skip


@SWITCHED
def test_two_iterations(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recipes.load

    def small(path: Path) -> Any:
        found = whole(path)
        found.model.update(SMALL)
        return found

    monkeypatch.setattr(recipes, "load", small)
    monkeypatch.setattr(recipes, "LONGEST", 64)
    recipes.fast_check(file)


@SWITCHED
def test_the_recipe_is_the_papers(file: Path) -> None:
    recipe = recipes.load(file)
    epochs, size = RECIPES.get(file.stem, (12, (1000, 600) if file.stem.startswith("voc_") else (1333, 800)))
    optimiser = recipe.optim_wrapper.optimizer
    assert (optimiser.type, optimiser.momentum, optimiser.weight_decay) == ("SGD", 0.9, 1e-4)
    assert recipe.train_cfg.max_epochs == epochs == recipe.param_scheduler[-1].T_max
    assert recipe.train_dataloader.batch_size == 4
    pipeline = {step.type: step for step in recipe.test_dataloader.dataset.pipeline}
    assert tuple(pipeline["Resize"].scale) == size
    trained = recipe.train_dataloader.dataset
    assert trained.name == ("voc0712" if file.stem.startswith("voc_") else "coco")
    assert recipe.model.get("classes", 80) == (20 if trained.name == "voc0712" else 80)
    assert recipe.val_evaluator.type == ("VOCMetric" if trained.name == "voc0712" else "CocoMetric")
    assert [hook.type for hook in recipe.custom_hooks] == ["AdaptiveGradients"]


@SWITCHED
def test_its_pipelines_read_our_images(file: Path) -> None:
    from mmdet.registry import DATASETS

    recipe = recipes.load(file)
    for loader in (recipe.train_dataloader, recipe.test_dataloader):
        stand_in = {**loader.dataset, "name": "digit_scenes"}
        item = DATASETS.build(stand_in)[0]
        assert item["inputs"].shape[0] == 3 and item["inputs"].shape[1] >= 256
        assert item["data_samples"].img_id is not None


def test_the_switch_alone_parts_convolutions_from_adder_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    from mmdet.registry import MODELS

    file = next(file for file in CONFIGS if file.stem == "fcos")
    found = {}
    for switch in ("", "B", "B+N", "B+N+H"):
        monkeypatch.setenv("ADDER", switch)
        recipe = recipes.load(file)
        recipe.model.update(SMALL)
        model: Any = MODELS.build(recipe.model)
        parts = (model.backbone, model.neck, model.bbox_head)
        found[switch] = [any(isinstance(layer, Adder2d) for layer in part.modules()) for part in parts]
        settings = recipe.to_dict()
        settings["model"].pop("adder")
        found.setdefault("settings", settings)
        assert settings == found["settings"]
    assert [found[switch] for switch in ("", "B", "B+N", "B+N+H")] == [
        [False, False, False], [True, False, False], [True, True, False], [True, True, True],
    ]  # fmt: skip


def test_the_longer_schedule_is_one_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHS", "24")
    recipe = recipes.load(next(file for file in CONFIGS if file.stem == "retinanet"))
    assert recipe.train_cfg.max_epochs == recipe.param_scheduler[-1].T_max == recipe.param_scheduler[-1].end == 24
