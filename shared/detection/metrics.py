"""The two benchmarks' own measures of a detector: COCO's AP and VOC's mAP.

A detection is a dictionary as COCO's result files have it, in both layouts: `image_id`, `category_id`, `bbox` [left,
top, width, height] in pixels of the image as it is stored, `score`. In VOC's layout `category_id` is the label, from 0.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shared.datasets.spec import SplitName
from shared.detection.annotations import Annotated
from shared.detection.boxes import DetectionSet
from shared.errors import DataError

Detection = dict[str, Any]
Rule = Literal["11 point", "area"]

# The first six of the twelve numbers that COCO's tools give.
COCO_STATISTICS = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")


def evaluate(
    images: DetectionSet, split: SplitName, detections: Sequence[Detection], masks: bool = False
) -> dict[str, float]:
    """The metrics of the set's own layout, in percent.

    Returns:
        COCO: those of `coco_ap`; with `masks` also those of the outlines, as `mask_ap` and so on. VOC: `map50` by the
        11-point rule of VOC2007, `map50_area` by that of VOC2010 and later.
    """
    if images.layout == "coco":
        file = images.annotation_files(split)[0]
        outlines = coco_ap(file, detections, "segm") if masks else {}
        return coco_ap(file, detections) | {f"mask_{name}": value for name, value in outlines.items()}
    annotated = images.read(split)
    found = voc_map(annotated, images.classes, detections)
    return {"map50": found["map50"], "map50_area": voc_map(annotated, images.classes, detections, rule="area")["map50"]}


def coco_ap(
    annotations: Path, detections: Sequence[Detection], by: Literal["bbox", "segm"] = "bbox"
) -> dict[str, float]:
    """COCO's average precision (https://cocodataset.org/#detection-eval), to the last bit that of pycocotools.

    Args:
        annotations: the split's JSON file.
        detections: see above; of each image the 100 with the highest scores of each class count.
        by: whether boxes overlap, or outlines (`segmentation`, in COCO's run-length form).

    Returns:
        In percent: `ap` (mean over IoU 0.50, 0.55, ..., 0.95), `ap50`, `ap75`, and `ap_s`, `ap_m`, `ap_l` for objects
        below 32 x 32, up to 96 x 96 and above; one is absent when no object is of that size.

    Raises:
        DataError: a detection names an image or a category that the file has not, or is not finite.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
    check_detections(detections, truth.getImgIds(), truth.getCatIds(), str(annotations))
    with contextlib.redirect_stdout(io.StringIO()):
        # loadRes looks at the first detection to know what it is given; and it adds keys to every one.
        found = truth.loadRes([dict(detection) for detection in detections]) if detections else COCO()
        evaluation = COCOeval_faster(truth, found, by)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    values = evaluation.stats[: len(COCO_STATISTICS)].tolist()
    return {name: 100 * value for name, value in zip(COCO_STATISTICS, values, strict=True) if value >= 0}


def voc_map(
    annotated: Sequence[Annotated],
    classes: Sequence[str],
    detections: Sequence[Detection],
    *,
    iou: float = 0.5,
    rule: Rule = "11 point",
) -> dict[str, Any]:
    """VOC's mean average precision (VOC2007 development kit, section 3.4; VOC2010's, section 3.4.1, for "area").

    Detections of a class claim, by falling score, the object of their image that they overlap most. The first to claim
    an object with at least `iou` has found it, any later one is a false alarm; one that claims a difficult object
    counts for nothing, and difficult objects need not be found. Of equal scores the first listed goes first.

    VOC's corners are counted from 1 and include their pixel; the reader has made plain distances of them (see
    shared/detection/voc.py), and so a detection of the very same pixels has an IoU of 1, as in the development kit.

    Args:
        annotated: the images of a split.
        classes: the names of the labels.
        detections: see above.
        iou: the least intersection over union.
        rule: "11 point" (VOC2007: mean of the best precisions at a recall of at least 0, 0.1, ..., 1) or "area"
            (VOC2010 and later: the area under the falling hull of the precision).

    Returns:
        In percent: `map50` (or whatever `iou` is), the mean over the classes that have an object, and `classes`, the
        average precision of each of them by name.

    Raises:
        DataError: a detection names an image or a label that is not there, or is not finite.
    """
    check_detections(detections, [image.id for image in annotated], range(len(classes)), "the split")
    listed: list[list[Detection]] = [[] for _ in classes]
    for detection in detections:
        listed[detection["category_id"]].append(detection)
    precision = {}
    for label, name in enumerate(classes):
        objects = sum(int(((image.labels == label) & ~image.ignored).sum()) for image in annotated)
        if objects:
            hits = _hits(annotated, label, listed[label], iou)
            precision[name] = 100 * average_precision(hits, objects, rule)
    if not precision:
        raise DataError("the split has no object that is not marked difficult: there is nothing to find")
    return {f"map{round(100 * iou)}": sum(precision.values()) / len(precision), "classes": precision}


def average_precision(hits: Sequence[bool], objects: int, rule: Rule) -> float:
    """The average precision in 0..1 of detections in the order of their scores.

    Args:
        hits: whether each detection found an object.
        objects: number of objects to be found, at least 1.
        rule: see `voc_map`.
    """
    found = np.cumsum(np.asarray(hits, dtype=np.int64))
    if not len(found) or not found[-1]:
        return 0.0
    precision = found / np.arange(1, len(found) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # from here on, or later
    if rule == "area":
        return float((best * np.asarray(hits)).sum() / objects)  # each hit adds 1 / objects of recall
    # In whole numbers: a recall of exactly 0.3 reaches 0.3.
    first = [np.searchsorted(10 * found, tenth * objects) for tenth in range(11)]
    return float(sum(best[place] for place in first if place < len(best)) / 11)


def _hits(annotated: Sequence[Annotated], label: int, detections: Sequence[Detection], iou: float) -> list[bool]:
    """For the detections of one class in the order of their scores, without those that count for nothing."""
    objects = {
        image.id: (image.boxes[image.labels == label], image.ignored[image.labels == label]) for image in annotated
    }
    claimed = {number: np.zeros(len(boxes), dtype=np.bool_) for number, (boxes, _) in objects.items()}
    hits = []
    for detection in sorted(detections, key=lambda one: -one["score"]):
        boxes, difficult = objects[detection["image_id"]]
        overlaps = _overlaps(boxes, detection["bbox"])
        best = int(overlaps.argmax()) if len(overlaps) else -1
        if best < 0 or overlaps[best] < iou:
            hits.append(False)
        elif not difficult[best]:
            hits.append(not claimed[detection["image_id"]][best])
            claimed[detection["image_id"]][best] = True
    return hits


def _overlaps(boxes: NDArray[np.float64], bbox: Sequence[float]) -> NDArray[np.float64]:
    """Intersection over union of boxes (N, 4), by their corners, with one [left, top, width, height]: (N,)."""
    left, top, width, height = bbox
    wide = np.minimum(boxes[:, 2], left + width) - np.maximum(boxes[:, 0], left)
    high = np.minimum(boxes[:, 3], top + height) - np.maximum(boxes[:, 1], top)
    shared = wide.clip(0) * high.clip(0)
    return shared / ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) + width * height - shared)


def check_detections(
    detections: Sequence[Detection], images: Iterable[int | str], categories: Iterable[int], where: str
) -> None:
    """DataError when a detection is about an image or a category that is not there, or is no box with a score."""
    known, kinds = set(images), set(categories)
    for position, detection in enumerate(detections):
        label = f"detection {position}"
        absent = [key for key in ("image_id", "category_id", "bbox", "score") if key not in detection]
        if absent:
            raise DataError(f"{label}: has no `{absent[0]}`; it needs image_id, category_id, bbox and score")
        if detection["image_id"] not in known:
            raise DataError(
                f"{label}: image {detection['image_id']!r} is not in {where}; were they made on another split?"
            )
        if detection["category_id"] not in kinds:
            raise DataError(
                f"{label}: category {detection['category_id']!r} is not in {where}; use the set's category_ids"
            )
        numbers = (*detection["bbox"], detection["score"])
        if len(numbers) != 5 or not all(math.isfinite(number) for number in numbers):
            raise DataError(f"{label}: bbox {detection['bbox']}, score {detection['score']}: not five finite numbers")
