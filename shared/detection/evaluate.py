"""Every measure of a detector on a set's test split: COCO's and VOC's, from its detections."""

from __future__ import annotations

from typing import Any

from torch import nn

from shared.detection.boxes import DetectionSet, detection_set
from shared.detection.metrics import Detection, Rule, evaluate, voc_map
from shared.detection.network import DetectorNetwork
from shared.detection.predictions import predict
from shared.detection.recipe import DetectionRecipe

RULES: tuple[Rule, ...] = ("11 point", "area")


def measure(network: nn.Module, recipe: DetectionRecipe, data: str) -> dict[str, float]:
    """The metrics of a set's own layout; DataError when the set is missing or damaged."""
    images, found = detect(network, recipe, data)
    return evaluate(images, "test", found, recipe.masks)


def detect(network: nn.Module, recipe: DetectionRecipe, data: str) -> tuple[DetectionSet, list[Detection]]:
    """A set by its name, and what is found on its test split; DataError when the set is missing or damaged."""
    images = detection_set(data)
    images.prepare()
    assert isinstance(network, DetectorNetwork)
    return images, predict(network, recipe, images)


def measures(images: DetectionSet, found: list[Detection], masks: bool = False) -> dict[str, Any]:
    """Every measure of detections on the test split, in percent.

    Returns:
        For a set in COCO's layout `coco`, see `coco_ap`; for every set `voc`, by rule: `map50` and each class's average
        precision.
    """
    measured: dict[str, Any] = {}
    if images.layout == "coco":
        measured["coco"] = _rounded(evaluate(images, "test", found, masks))
        labels = {category: label for label, category in enumerate(images.category_ids)}
        found = [one | {"category_id": labels[one["category_id"]]} for one in found]
    annotated = images.read("test")
    measured["voc"] = {rule: _rounded(voc_map(annotated, images.classes, found, rule=rule)) for rule in RULES}
    return measured


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _rounded(one) if isinstance(one, dict) else round(one, 4) for name, one in values.items()}
