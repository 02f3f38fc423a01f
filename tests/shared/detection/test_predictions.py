from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("mmcv.ops")

from shared.detection.metrics import coco_ap
from shared.detection.predictions import as_detections
from tests.shared.detection.made import coco_content, write_coco


def outlined(folder: Path) -> Path:
    """Objects that fill the left half of their boxes alone."""
    content = coco_content()
    for one in content["annotations"]:
        left, top, width, height = one["bbox"]
        right, bottom = left + width / 2, top + height
        one["segmentation"] = [[left, top, right, top, right, bottom, left, bottom]]
        one["iscrowd"] = 0
    return write_coco(folder, content)[0]


def samples(share: float) -> list[dict[str, Any]]:
    """The objects of image 7, with masks that fill a share of their boxes."""
    boxes, labels = torch.tensor([[1.5, 2, 11.5, 22], [20, 0, 40, 30], [5, 5, 11, 11]]), torch.tensor([0, 1, 0])
    masks = torch.zeros(3, 30, 40, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
        mask[round(top) : round(bottom), round(left) : round(left + share * (right - left))] = True
    found = {"bboxes": boxes, "labels": labels, "scores": torch.tensor([0.9, 0.8, 0.7]), "masks": masks}
    return [{"img_id": 7, "pred_instances": found}]


def test_outlines_are_kept_and_measured_apart_from_boxes(tmp_path: Path) -> None:
    file = outlined(tmp_path)
    right, wrong = (as_detections(samples(share), [20, 10]) for share in (0.5, 1.0))
    assert right[0]["bbox"] == [1.5, 2, 10, 20] and right[1]["category_id"] == 10
    assert right[0]["segmentation"]["size"] == [30, 40]
    boxes, outlines = coco_ap(file, right), coco_ap(file, right, "segm")
    assert coco_ap(file, wrong) == boxes
    assert outlines["ap50"] == pytest.approx(boxes["ap50"]) and outlines["ap75"] > 0
    assert coco_ap(file, wrong, "segm")["ap75"] == 0
