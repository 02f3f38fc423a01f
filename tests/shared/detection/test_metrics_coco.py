"""COCO's metric on made-up detections whose average precision is known, and against pycocotools."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.detection.boxes import detection_set
from shared.detection.metrics import coco_ap, evaluate
from shared.errors import DataError
from tests.shared.detection.made import coco_content, detection, write_coco

NAMES = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")
NOTHING, EVERYTHING = dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 100)


@pytest.fixture(scope="module")
def photographs():
    """The annotation file of the COCO subset's test split, and its content."""
    if not os.environ.get("PAPERTRAIL_DATA"):
        pytest.skip("PAPERTRAIL_DATA names no folder")
    (file,) = detection_set("coco_subset").annotation_files("test")
    return file, json.loads(file.read_text())


def perfect(annotations):
    return [detection(one["image_id"], one["category_id"], one["bbox"]) for one in annotations if not one["iscrowd"]]


def official(file, detections):
    """What pycocotools says, in percent; a size without an object is absent."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes([dict(one) for one in detections]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: 100 * value for name, value in zip(NAMES, evaluation.stats[:6], strict=True) if value >= 0}


def test_perfect_detections_have_100_and_none_at_all_0(photographs):
    file, content = photographs
    assert coco_ap(file, perfect(content["annotations"])) == EVERYTHING
    assert coco_ap(file, []) == NOTHING


def test_a_set_is_evaluated_by_the_metric_of_its_layout(photographs):
    _, content = photographs
    assert evaluate(detection_set("coco_subset"), "test", perfect(content["annotations"])) == EVERYTHING


def test_half_of_the_objects_give_the_recalls_that_they_reach(photographs):
    """Without a false alarm the precision is 1 up to the recall k / n of a class, 0 beyond; COCO asks at 101 recalls.
    Where nothing is found it is 0 at a recall of 0 as well."""
    file, content = photographs
    objects = [one for one in content["annotations"] if not one["iscrowd"]]
    half = perfect(objects)[::2]
    of, found = (Counter(one["category_id"] for one in some) for some in (objects, half))
    assert not all(found[number] for number in of)
    reached = [
        sum(recall <= found[number] / of[number] for recall in np.linspace(0, 1, 101)) / 101 if found[number] else 0
        for number in of
    ]
    expected = 100 * sum(reached) / len(of)
    assert 30 < expected < 70
    result = coco_ap(file, half)
    assert result["ap"] == pytest.approx(expected, abs=1e-9) and result["ap75"] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("iou, passed", [(0.97, 10), (0.93, 9), (0.78, 6), (0.52, 1), (0.48, 0)])
def test_narrowed_boxes_pass_as_many_thresholds_as_their_iou(photographs, tmp_path, iou, passed):
    """A box cut to a part of its width has that very IoU. One object of each image and class is kept, so that a box cut
    down is never nearer to a neighbour."""
    _, content = photographs
    alone = {(one["image_id"], one["category_id"]): one for one in content["annotations"] if not one["iscrowd"]}
    file = tmp_path / "alone.json"
    file.write_text(json.dumps(content | {"annotations": list(alone.values())}))
    cut = perfect(alone.values())
    for one in cut:
        one["bbox"][2] *= iou
    result = coco_ap(file, cut)
    assert result["ap"] == pytest.approx(10 * passed, abs=1e-9)
    assert result["ap50"] == (100 if iou > 0.5 else 0) and result["ap75"] == (100 if iou > 0.75 else 0)


def test_a_wrong_category_finds_nothing(photographs):
    file, content = photographs
    there = {(one["image_id"], one["category_id"]) for one in content["annotations"]}
    numbers = [category["id"] for category in content["categories"]]
    wrong = []
    for one in perfect(content["annotations"]):
        other = next(number for number in numbers if (one["image_id"], number) not in there)
        wrong.append(one | {"category_id": other})
    assert coco_ap(file, wrong) == NOTHING


def test_what_lies_in_a_crowd_is_no_false_alarm(photographs):
    file, content = photographs
    crowds = [one for one in content["annotations"] if one["iscrowd"]]
    right, inside = perfect(content["annotations"]), []
    for one in crowds:
        left, top, width, height = one["bbox"]
        inside += [
            detection(one["image_id"], one["category_id"], (left + width * part, top + height * part, 1, 1), 2.0)
            for part in (0.3, 0.5, 0.7)
        ]
    assert len(inside) == 63
    assert coco_ap(file, right + inside) == EVERYTHING
    there = {(one["image_id"], one["category_id"]) for one in crowds}
    elsewhere = [one | {"category_id": 3} for one in inside if (one["image_id"], 3) not in there]
    assert coco_ap(file, right + elsewhere)["ap"] < 99.9


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_pycocotools_on_photographs(photographs, seed):
    file, content = photographs
    draw = random.Random(seed)
    numbers = [category["id"] for category in content["categories"]]
    made = []
    for one in content["annotations"]:
        for _ in range(draw.choice((0, 1, 1, 2))):
            left, top, width, height = one["bbox"]
            apart = draw.uniform(0, 0.3)
            moved = (
                left + draw.uniform(-apart, apart) * width,
                top + draw.uniform(-apart, apart) * height,
                width * (1 + draw.uniform(-apart, apart)),
                height * (1 + draw.uniform(-apart, apart)),
            )
            number = one["category_id"] if draw.random() < 0.9 else draw.choice(numbers)
            made.append(detection(one["image_id"], number, moved, round(draw.random(), 2)))  # equal scores among them
    for image in content["images"][::4]:  # more than the hundred that count
        made += [
            detection(image["id"], 1, (draw.uniform(0, 300), draw.uniform(0, 200), 50, 80), round(draw.random(), 2))
            for _ in range(120)
        ]
    expected = official(file, made)
    assert 10 < expected["ap"] < 60
    assert coco_ap(file, made) == pytest.approx(expected, abs=1e-9)


boxes = st.tuples(st.integers(0, 20), st.integers(0, 15), st.integers(1, 20), st.integers(1, 15))
guesses = st.lists(
    st.builds(detection, st.sampled_from([7, 3, 5]), st.sampled_from([10, 20]), boxes, st.integers(0, 5)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([7, 3, 5]), st.sampled_from([10, 20]), boxes, st.integers(0, 1)),
        min_size=1,
        max_size=8,
    ),
    guesses,
)
def test_equal_to_pycocotools_on_anything(tmp_path_factory, objects, made):
    folder = tmp_path_factory.mktemp("anything")
    annotations = [
        {"id": number, "image_id": image, "category_id": kind, "bbox": box, "iscrowd": crowd, "area": box[2] * box[3]}
        for number, (image, kind, box, crowd) in enumerate(objects, start=1)
    ]
    file = folder / "some.json"
    file.write_text(json.dumps(coco_content() | {"annotations": annotations}))
    assert coco_ap(file, made) == pytest.approx(official(file, made), abs=1e-9)


def test_a_size_without_objects_has_no_number(tmp_path):
    file, _ = write_coco(tmp_path)
    found = coco_ap(file, perfect(coco_content()["annotations"]))
    assert found == {"ap": 100, "ap50": 100, "ap75": 100, "ap_s": 100}  # the crowd is the only one of middle size


def test_detections_are_left_as_they_were(tmp_path):
    file, _ = write_coco(tmp_path)
    made = perfect(coco_content()["annotations"])
    before = json.dumps(made)
    coco_ap(file, made)
    assert json.dumps(made) == before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"image_id": 99}, r"detection 1: image 99 is not in .*train\.json"),
        ({"image_id": "7"}, r"detection 1: image '7' is not in .*train\.json"),
        ({"category_id": 1}, r"detection 1: category 1 is not in .*train\.json"),
        ({"score": float("nan")}, "detection 1: .* not five finite numbers"),
        ({"bbox": [1, 2, float("inf"), 4]}, "detection 1: .* not five finite numbers"),
        ({"bbox": [1, 2, 3]}, "detection 1: .* not five finite numbers"),
    ],
)
def test_what_is_wrong_with_a_detection_is_named(tmp_path, change, message):
    file, _ = write_coco(tmp_path)
    made = perfect(coco_content()["annotations"])
    made[1] |= change
    with pytest.raises(DataError, match=message):
        coco_ap(file, made)


def test_an_incomplete_detection_is_named(tmp_path):
    file, _ = write_coco(tmp_path)
    with pytest.raises(DataError, match="detection 0: has no `score`"):
        coco_ap(file, [{"image_id": 7, "category_id": 10, "bbox": [0, 0, 1, 1]}])
