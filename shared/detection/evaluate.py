"""`python -m shared.detection.evaluate papers/<slug> PROTOCOL ARM`: measure the detections that an arm has kept.

A stage of its own, so that another measure needs no training: it reads seeds/<N>/detections.json and writes
evaluation.json beside them. A set in COCO's layout is measured as COCO and as VOC, a set in VOC's layout as VOC.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from shared.detection.metrics import Detection, Rule, evaluate, voc_map
from shared.detection.sets import DetectionSet, detection_set
from shared.errors import PapertrailError, exit_status
from shared.files import ROOT, read_json, write_json
from shared.training.command import arm_parser
from shared.training.recipe import detection
from shared.training.run import protocol_with

RULES: tuple[Rule, ...] = ("11 point", "area")


def main() -> int:
    """Evaluate, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    given = arm_parser("shared.detection.evaluate", __doc__).parse_args()
    return exit_status(lambda: evaluate_arm(given.paper, given.protocol, given.arm))


def evaluate_arm(paper: str, protocol_name: str, arm: str) -> None:
    """Measure the detections of every seed of an arm, and write evaluation.json.

    UsageError when there is no such arm or it is no detector's; PapertrailError when it was not trained.
    """
    protocol = protocol_with(paper, protocol_name, arm)
    detection(protocol.recipe)
    folder, images = ROOT / "papers" / paper / "runs" / protocol_name / arm, detection_set(protocol.data)
    found = {str(seed): measures(images, _detections(folder, seed)) for seed in protocol.seeds}
    write_json(folder / "evaluation.json", found)


def measures(images: DetectionSet, found: list[Detection]) -> dict[str, Any]:
    """Every measure of detections on the test split, in percent.

    Returns:
        For a set in COCO's layout `coco`, see `coco_ap`; for every set `voc`, by rule: `map50` and each class's average
        precision.
    """
    measured: dict[str, Any] = {}
    if images.layout == "coco":
        measured["coco"] = _rounded(evaluate(images, "test", found))
        labels = {category: label for label, category in enumerate(images.category_ids)}
        found = [one | {"category_id": labels[one["category_id"]]} for one in found]
    annotated = images.read("test")
    measured["voc"] = {rule: _rounded(voc_map(annotated, images.classes, found, rule=rule)) for rule in RULES}
    return measured


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _rounded(one) if isinstance(one, dict) else round(one, 4) for name, one in values.items()}


def _detections(folder: Path, seed: int) -> list[Detection]:
    file = folder / "seeds" / str(seed) / "detections.json"
    if not file.exists():
        raise PapertrailError(f"{file}: not there; train the arm first (python -m shared.detection)")
    return read_json(file)


if __name__ == "__main__":
    sys.exit(main())
