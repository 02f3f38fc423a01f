"""The paper's own recipes for detectors: what they say, and that each detector trains by one."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("mmcv.ops")

from papers.adder_detection.switch import ZOO
from shared.detection.fit import DetectionRun
from shared.detection.recipe import DetectionRecipe
from shared.detection.standin import two_steps
from shared.files import ROOT
from shared.training.protocol import Protocol, load_protocols

FULL = {
    name: protocol
    for name, protocol in load_protocols(ROOT / "papers" / "adder_detection" / "params.yaml").items()
    if protocol.data in ("coco", "voc0712")
}
# What a detector that trains in a second on one core is asked for: a narrow, shallow backbone.
SMALL: dict[str, Any] = {"depth": 18, "width": 0.25}
SAID: dict[str, tuple[int, tuple[int, int]]] = {
    "coco": (12, (1333, 800)), "coco-24": (24, (1333, 800)), "fcos-rt": (48, (736, 512)),
    "retinanet-ms-640": (50, (640, 640)), "voc": (12, (1000, 600)),
}  # fmt: skip
# Where MMDetection's own configuration of a detector has it.
CLIPPED = {"fcos": 35, "reppoints": 35, "sparse_rcnn": 1}


def recipe_of(protocol: Protocol, arm: str) -> DetectionRecipe:
    recipe = protocol.recipe_of(arm)
    assert isinstance(recipe, DetectionRecipe)
    return recipe


def one_of_each() -> list[tuple[str, str]]:
    """An arm for every detector, with adder layers where there is one; see tests/test_papers.py for every recipe."""
    found: dict[str, tuple[str, str]] = {}
    for name, protocol in FULL.items():
        for arm, stated in sorted(protocol.arms.items(), key=lambda item: "adder" not in item[1].args):
            found.setdefault(stated.builder, (name, arm))
    return list(found.values())


def test_every_detector_of_tables_1_to_6_has_its_arm() -> None:
    found = {arm.builder for protocol in FULL.values() for arm in protocol.arms.values()}
    assert found == set(ZOO) - {"ghm", "fsaf", "pisa"}  # which table 5 only cites
    assert FULL.keys() == SAID.keys()


@pytest.mark.parametrize("name", SAID)
def test_the_recipe_is_the_papers(name: str) -> None:
    protocol = FULL[name]
    assert protocol.trainer.devices == 8 and protocol.needs
    for arm, stated in protocol.arms.items():
        recipe = recipe_of(protocol, arm)
        images = {"2": 16, "8": 64}.get(arm.rpartition("-")[2], 32)  # on eight GPUs
        assert (recipe.epochs, recipe.size, recipe.batch_size) == (*SAID[name], images), arm
        optimiser = recipe.optimiser
        assert (optimiser.name, optimiser.momentum, optimiser.weight_decay) == ("sgd", 0.9, 1e-4)
        assert optimiser.lr == pytest.approx(0.02 * images / 32)
        assert recipe.clip == CLIPPED.get(stated.builder), arm
        assert recipe.method is not None and recipe.method.name == "adder"
        assert recipe.schedule.name == "cosine" and recipe.group_shapes
        assert recipe.evaluate_divergence == bool(stated.args.get("frozen_norm", False))


@pytest.mark.parametrize(("name", "arm"), one_of_each(), ids=map("/".join, one_of_each()))
def test_two_steps(name: str, arm: str) -> None:
    protocol = FULL[name]
    stated = protocol.arms[arm]
    small = stated.model_copy(update={"args": {**stated.args, **SMALL}})
    run = DetectionRun("adder_detection", name, protocol.model_copy(update={"arms": {arm: small}}), arm, 0)
    two_steps(run.build(), recipe_of(protocol, arm), run.spec.classes, f"{name}/{arm}")
