"""`python -m shared.detection.evaluate papers/<slug> PROTOCOL ARM`: measure the detections that an arm has kept.

A stage of its own, so that another measure needs no training: it reads seeds/<N>/detections.json and writes
evaluation.json beside them. A set in COCO's layout is measured as COCO and as VOC, a set in VOC's layout as VOC.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from shared.detection.metrics import Detection, Rule, evaluate, voc_map
from shared.detection.sets import DetectionSet, detection_set
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT, read_json, write_json
from shared.training.recipe import detection
from shared.training.run import protocol_with

RULES: tuple[Rule, ...] = ("11 point", "area")


def main() -> int:
    """Evaluate, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m shared.detection.evaluate", description=__doc__)
    parser.add_argument("paper", help="papers/<slug>")
    parser.add_argument("protocol", help="a protocol of the paper's params.yaml whose recipe is for detection")
    parser.add_argument("arm", help="an arm of that protocol")
    given = parser.parse_args()
    paper = given.paper.removeprefix("papers/").rstrip("/")
    try:
        protocol = protocol_with(paper, given.protocol, given.arm)
        detection(protocol.recipe)
        folder = ROOT / "papers" / paper / "runs" / given.protocol / given.arm
        found = {
            str(seed): measures(detection_set(protocol.data), _detections(folder, seed)) for seed in protocol.seeds
        }
        write_json(folder / "evaluation.json", found)
    except PapertrailError as error:
        print(f"papertrail: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


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
