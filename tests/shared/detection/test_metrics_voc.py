"""VOC's metric: cases worked out by hand, the development kit's rules in plain loops, and MMDetection's own."""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.detection.annotations import Annotated, arrays
from shared.detection.boxes import detection_set
from shared.detection.metrics import average_precision, evaluate, voc_map
from shared.errors import DataError
from tests.shared.detection.made import CLASSES, detection


def image(number, *objects):
    """`objects` are (label, box by its corners, difficult)."""
    boxes, labels, difficult = [one[1] for one in objects], [one[0] for one in objects], [one[2] for one in objects]
    return Annotated(number, None, 50, 50, *arrays(boxes, labels, difficult))


def perfect(annotated):
    return [
        detection(one.id, label, (left, top, right - left, bottom - top))
        for one in annotated
        for (left, top, right, bottom), label, ignored in zip(
            one.boxes.tolist(), one.labels.tolist(), one.ignored.tolist(), strict=True
        )
        if not ignored
    ]


# By hand


@pytest.mark.parametrize(
    "hits, objects, eleven, area",
    [
        ([], 3, 0, 0),
        ([False, False], 3, 0, 0),
        ([True, True, True], 3, 1, 1),
        ([True, False, True], 2, (6 + 5 * 2 / 3) / 11, (1 + 2 / 3) / 2),  # recall 0.5 at precision 1, then 1 at 2/3
        ([False, True], 1, 1 / 2, 1 / 2),
        ([False, False, True, True], 4, 6 * (1 / 2) / 11, 2 / 4 * (1 / 2)),  # the later, better precision counts before
        ([True, True, True], 10, 4 / 11, 3 / 10),  # a recall of exactly 0.3: of 0, 0.1, 0.2 and 0.3
        ([True] * 6, 10, 7 / 11, 6 / 10),
        ([True] * 7, 10, 8 / 11, 7 / 10),
        ([True], 11, 1 / 11, 1 / 11),
    ],
)
def test_average_precision_by_hand(hits, objects, eleven, area):
    assert average_precision(hits, objects, "11 point") == pytest.approx(eleven, abs=1e-12)
    assert average_precision(hits, objects, "area") == pytest.approx(area, abs=1e-12)


WHOLE = (10.0, 10.0, 20.0, 20.0)


def test_an_iou_of_exactly_a_half_is_enough():
    annotated = [image("a", (0, WHOLE, False))]
    assert voc_map(annotated, CLASSES, [detection("a", 0, (10, 10, 10, 5))])["map50"] == 100
    assert voc_map(annotated, CLASSES, [detection("a", 0, (10, 10, 10, 4.99))])["map50"] == 0
    assert voc_map(annotated, CLASSES, [detection("a", 0, (10, 10, 10, 7.5))], iou=0.75) == {
        "map75": 100, "classes": {"cat": 100},
    }  # fmt: skip


def test_a_second_detection_of_an_object_is_a_false_alarm():
    annotated = [image("a", (0, WHOLE, False), (0, (30.0, 30.0, 40.0, 40.0), False))]
    twice = [detection("a", 0, (10, 10, 10, 10), 3), detection("a", 0, (10, 10, 10, 10), 2)]
    rest = [detection("a", 0, (30, 30, 10, 10), 1)]
    assert voc_map(annotated, CLASSES, twice + rest, rule="area")["map50"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_a_detection_claims_what_it_overlaps_most_even_when_that_is_taken():
    """Unlike COCO's, VOC's rule gives it no second choice."""
    annotated = [image("a", (0, (0.0, 0.0, 10.0, 10.0), False), (0, (0.0, 2.0, 10.0, 12.0), False))]
    made = [detection("a", 0, (0, 0, 10, 10), 3), detection("a", 0, (0, 0.9, 10, 10), 2)]
    assert voc_map(annotated, CLASSES, made, rule="area")["map50"] == 50


def test_difficult_objects_count_neither_as_missed_nor_as_found():
    annotated = [image("a", (0, WHOLE, True), (0, (30.0, 30.0, 40.0, 40.0), False))]
    easy, hard = detection("a", 0, (30, 30, 10, 10), 1), detection("a", 0, (10, 10, 10, 10), 2)
    assert voc_map(annotated, CLASSES, [easy])["map50"] == 100
    assert voc_map(annotated, CLASSES, [easy, hard, hard])["map50"] == 100
    assert voc_map(annotated, CLASSES, [hard])["map50"] == 0


def test_the_mean_is_over_classes_that_have_an_object():
    annotated = [image("a", (0, WHOLE, False)), image("b", (1, WHOLE, True))]
    found = voc_map(annotated, CLASSES, [detection("a", 0, (10, 10, 10, 10)), detection("a", 1, (0, 0, 9, 9))])
    assert found == {"map50": 100, "classes": {"cat": 100}}
    both = voc_map([image("a", (0, WHOLE, False), (1, WHOLE, False))], CLASSES, [detection("a", 1, (10, 10, 10, 10))])
    assert both == {"map50": 50, "classes": {"cat": 0, "dog": 100}}


def test_nothing_to_find_is_an_error():
    with pytest.raises(DataError, match="no object that is not marked difficult"):
        voc_map([image("b", (1, WHOLE, True))], CLASSES, [])


@pytest.mark.parametrize(
    "made, message",
    [
        (detection("c", 0, (0, 0, 1, 1)), "detection 0: image 'c' is not in"),
        (detection("a", 2, (0, 0, 1, 1)), "detection 0: category 2 is not in"),
        (detection("a", 0, (0, 0, 1)), "detection 0: .* not five finite numbers"),
        ({"image_id": "a", "category_id": 0, "score": 1.0}, "detection 0: has no `bbox`"),
    ],
)
def test_what_is_wrong_with_a_detection_is_named(made, message):
    with pytest.raises(DataError, match=message):
        voc_map([image("a", (0, WHOLE, False))], CLASSES, [made])


# Against plain loops


def kit(annotated, detections, label, least, rule):
    """VOCevaldet.m read as text: corners of whole pixels from 1, both included; None where there is no object."""
    objects = [
        {"image": one.id, "box": (box[0] + 1, box[1] + 1, box[2], box[3]), "difficult": bool(ignored), "taken": False}
        for one in annotated
        for box, kind, ignored in zip(one.boxes, one.labels, one.ignored, strict=True)
        if kind == label
    ]
    total = sum(not one["difficult"] for one in objects)
    if not total:
        return None
    true, false, points = 0, 0, []
    for made in sorted((one for one in detections if one["category_id"] == label), key=lambda one: -one["score"]):
        left, top, width, height = made["bbox"]
        box = (left + 1, top + 1, left + width, top + height)
        most, best = Fraction(-1), None
        for one in objects:
            if one["image"] != made["image_id"]:
                continue
            other = one["box"]
            wide = min(box[2], other[2]) - max(box[0], other[0]) + 1
            high = min(box[3], other[3]) - max(box[1], other[1]) + 1
            if wide <= 0 or high <= 0:
                continue
            union = (
                (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
                + (other[2] - other[0] + 1) * (other[3] - other[1] + 1)
                - wide * high
            )
            overlap = Fraction(int(wide * high), int(union))
            if overlap > most:
                most, best = overlap, one
        if best is not None and most >= least:
            if best["difficult"]:
                continue
            if best["taken"]:
                false += 1
            else:
                true, best["taken"] = true + 1, True
        else:
            false += 1
        points.append((Fraction(true, total), Fraction(true, true + false)))
    if rule == "11 point":
        return sum(
            max((precision for recall, precision in points if recall >= Fraction(tenth, 10)), default=Fraction(0))
            for tenth in range(11)
        ) / Fraction(11)
    area, before = Fraction(0), Fraction(0)
    for place, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[place:])
        before = recall
    return area


side = st.integers(0, 8)
corners = st.tuples(side, side, st.integers(1, 6), st.integers(1, 6)).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)
contents = st.lists(st.lists(st.tuples(st.integers(0, 1), corners, st.booleans()), max_size=4), min_size=1, max_size=3)
sets = contents.map(lambda images: [image(number, *objects) for number, objects in enumerate(images)])
rules = st.sampled_from(["11 point", "area"])


@st.composite
def splits_and_detections(draw):
    """A split with something to find, and detections of distinct scores, near the objects and elsewhere."""
    annotated = draw(sets)
    assume(any(not one.ignored.all() for one in annotated if len(one.labels)))
    near = [
        detection(one.id, int(label), (*box[:2], *(box[2:] - box[:2])))
        for one in annotated
        for box, label in zip(one.boxes, one.labels, strict=True)
    ]
    made = []
    for _ in range(draw(st.integers(0, 10))):
        if near and draw(st.booleans()):
            start = draw(st.sampled_from(near))
            shift = draw(st.tuples(st.integers(-1, 1), st.integers(-1, 1)))
            box = [start["bbox"][0] + shift[0], start["bbox"][1] + shift[1], *start["bbox"][2:]]
            made.append(start | {"bbox": box})
        else:
            left, top, right, bottom = draw(corners)
            number = draw(st.integers(0, len(annotated) - 1))
            made.append(detection(number, draw(st.integers(0, 1)), (left, top, right - left, bottom - top)))
    scores = draw(st.permutations(range(len(made))))
    return annotated, [one | {"score": float(score)} for one, score in zip(made, scores, strict=True)]


@given(splits_and_detections(), rules, st.sampled_from([Fraction(1, 2), Fraction(3, 4), Fraction(1, 4)]))
def test_equal_to_the_development_kit_in_plain_loops(case, rule, least):
    annotated, made = case
    expected = {name: kit(annotated, made, label, least, rule) for label, name in enumerate(CLASSES)}
    found = voc_map(annotated, CLASSES, made, iou=float(least), rule=rule)["classes"]
    assert found == {name: pytest.approx(100 * float(ap), abs=1e-9) for name, ap in expected.items() if ap is not None}


@given(splits_and_detections(), rules, st.randoms(use_true_random=False))
def test_neither_the_order_of_the_list_nor_the_scale_of_the_scores_matters(case, rule, shuffle):
    annotated, made = case
    before = voc_map(annotated, CLASSES, made, rule=rule)
    changed = [one | {"score": one["score"] ** 3 / 7 - 5} for one in made]
    shuffle.shuffle(changed)
    assert voc_map(annotated, CLASSES, changed, rule=rule) == before


@given(splits_and_detections(), rules, st.integers(0, 1))
def test_a_false_alarm_below_all_changes_nothing_and_one_above_all_never_helps(case, rule, label):
    annotated, made = case
    before = voc_map(annotated, CLASSES, made, rule=rule)["map50"]
    alarm = detection(0, label, (45, 45, 5, 5))
    assert voc_map(annotated, CLASSES, [*made, alarm | {"score": -1.0}], rule=rule)["map50"] == before
    assert voc_map(annotated, CLASSES, [*made, alarm | {"score": 99.0}], rule=rule)["map50"] <= before


@given(splits_and_detections(), rules)
def test_perfect_detections_have_100(case, rule):
    """Unless two objects of a class are the very same box: every detection of it then claims the first of them."""
    annotated, _ = case
    for one in annotated:
        assume(
            len({(*box, label) for box, label in zip(one.boxes.tolist(), one.labels.tolist(), strict=True)})
            == len(one.labels)
        )
    assert voc_map(annotated, CLASSES, perfect(annotated), rule=rule)["map50"] == pytest.approx(100)


# On whole sets


def check_whole_set(name):
    known = detection_set(name)
    annotated = known.read("test")
    assert evaluate(known, "test", perfect(annotated)) == {
        "map50": pytest.approx(100),
        "map50_area": pytest.approx(100),
    }
    assert evaluate(known, "test", []) == {"map50": 0, "map50_area": 0}
    half = [one for one in perfect(annotated) if one["category_id"] % 2]
    share = 100 * len(range(1, len(known.classes), 2)) / len(known.classes)
    assert evaluate(known, "test", half) == {"map50": pytest.approx(share), "map50_area": pytest.approx(share)}


def test_the_scenes_are_evaluated_as_voc():
    check_whole_set("digit_scenes_voc")


@pytest.mark.skipif(not os.environ.get("PAPERTRAIL_DATA"), reason="PAPERTRAIL_DATA names no folder")
def test_photographs_in_vocs_layout_are_evaluated_as_voc():
    check_whole_set("voc_from_coco")


# Against MMDetection


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rule, mode", [("11 point", "11points"), ("area", "area")])
def test_equal_to_mmdetections(seed, rule, mode):
    """Boxes are handed to it as whole pixels, both corners included, which it wants told. It compares recalls with 0.1,
    0.2, ... as floating-point numbers: 13 objects of each class never have such a recall, but for 0 and 1."""
    functional = pytest.importorskip("mmdet.evaluation.functional")
    draw = np.random.default_rng(seed)

    def box():
        left, top = draw.integers(0, 30, 2)
        return float(left), float(top), float(left + draw.integers(4, 20)), float(top + draw.integers(4, 20))

    contents = [[] for _ in range(6)]
    for label in (0, 1):
        for place in draw.integers(0, 6, 13):
            contents[place].append((label, box(), False))
        for place in draw.integers(0, 6, 3):
            contents[place].append((label, box(), True))
    annotated = [image(number, *objects) for number, objects in enumerate(contents)]
    made = []
    for one in annotated:
        for (left, top, right, bottom), label in zip(one.boxes.tolist(), one.labels.tolist(), strict=True):
            shift = draw.integers(-2, 3, 2)
            made.append(
                detection(one.id, label, (left + shift[0], top + shift[1], right - left, bottom - top), draw.random())
            )
        for label in (0, 1, 1):
            left, top, right, bottom = box()
            made.append(detection(one.id, label, (left, top, right - left, bottom - top), draw.random()))
    theirs = [
        [
            np.array(
                [
                    (
                        one["bbox"][0],
                        one["bbox"][1],
                        one["bbox"][0] + one["bbox"][2] - 1,
                        one["bbox"][1] + one["bbox"][3] - 1,
                        one["score"],
                    )
                    for one in made
                    if one["image_id"] == number and one["category_id"] == label
                ]
            ).reshape(-1, 5)
            for label in (0, 1)
        ]
        for number in range(6)
    ]
    inclusive = np.array([0, 0, 1, 1])
    truth = [
        {
            "bboxes": one.boxes[~one.ignored] - inclusive,
            "labels": one.labels[~one.ignored],
            "bboxes_ignore": one.boxes[one.ignored] - inclusive,
            "labels_ignore": one.labels[one.ignored],
        }
        for one in annotated
    ]
    expected, _ = functional.eval_map(
        theirs,
        truth,
        iou_thr=0.5,
        dataset=CLASSES,
        logger="silent",
        nproc=1,
        use_legacy_coordinate=True,
        eval_mode=mode,
    )
    assert 0.2 < expected < 0.95
    assert voc_map(annotated, CLASSES, made, rule=rule)["map50"] == pytest.approx(100 * expected, abs=1e-4)
