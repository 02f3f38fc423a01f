from __future__ import annotations

import pytest

from shared.detection.boxes import detection_set
from shared.detection.evaluate import measures
from shared.detection.metrics import Detection


def perfect(name: str) -> list[Detection]:
    images = detection_set(name)
    return [
        {
            "image_id": image.id,
            "category_id": images.category_ids[label],
            "bbox": [left, top, right - left, bottom - top],
            "score": 1.0,
        }
        for image in images.read("test")
        for (left, top, right, bottom), label in zip(image.boxes.tolist(), image.labels.tolist(), strict=True)
    ]


def test_perfect_detections_are_perfect_by_every_measure() -> None:
    found = measures(detection_set("digit_scenes"), perfect("digit_scenes"))
    assert found["coco"]["ap"] == pytest.approx(100) and found["coco"]["ap75"] == pytest.approx(100)
    for rule in ("11 point", "area"):
        assert found["voc"][rule]["map50"] == pytest.approx(100)
        assert len(found["voc"][rule]["classes"]) == 10


def test_a_set_in_vocs_layout_is_measured_as_voc_alone() -> None:
    boxes = perfect("digit_scenes_voc")
    found = measures(detection_set("digit_scenes_voc"), [box for box in boxes if box["category_id"] != 3])
    assert found.keys() == {"voc"}
    assert found["voc"]["area"]["classes"]["3"] == 0 and found["voc"]["area"]["map50"] == pytest.approx(90)
