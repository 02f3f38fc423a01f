import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import datasets
from shared.detection import coco, scenes, voc
from shared.detection.scenes import Box


@pytest.fixture(scope="module")
def made():
    return {split: scenes.scenes(split) for split in ("train", "test")}


def test_counts_and_sizes(made):
    for split, count in scenes.COUNTS.items():
        assert len(made[split]) == count
        for scene in made[split]:
            assert scene.pixels.shape == (128, 128, 3) and scene.pixels.dtype == np.uint8
            assert 1 <= len(scene.boxes) == len(scene.labels) <= 6


def test_pixels_and_boxes_are_those_of_every_other_machine(made):
    total = hashlib.sha256()
    for split in ("train", "test"):
        for scene in made[split]:
            total.update(scene.pixels.tobytes() + str((scene.boxes, scene.labels)).encode())
    assert total.hexdigest() == "cab98c54b6d34392df9c95120ee5d0876ca603eb66ba91ed0b350e93039c792f"


def test_boxes_lie_within_the_scene_and_hardly_overlap(made):
    for scene in (*made["train"], *made["test"]):
        for position, box in enumerate(scene.boxes):
            assert 20 <= max(box.width, box.height) <= 56 and min(box.width, box.height) >= 1
            assert 0 <= box.left <= 128 - box.width and 0 <= box.top <= 128 - box.height
            for other in scene.boxes[:position]:
                inside = [
                    len(
                        {*range(box[side], box[side] + box[side + 2])}
                        & {*range(other[side], other[side] + other[side + 2])}
                    )
                    for side in (0, 1)
                ]
                common = inside[0] * inside[1]
                assert common / (box.width * box.height + other.width * other.height - common) <= 0.1


def test_a_digit_stands_out_from_a_quiet_background(made):
    alone = [scene for scene in made["train"] if len(scene.boxes) == 1]
    assert len(alone) > 50
    for scene in alone:
        (box,) = scene.boxes
        grey = scene.pixels.astype(np.int64).sum(axis=2) / 3
        inside = np.zeros_like(grey, dtype=bool)
        inside[box.top : box.top + box.height, box.left : box.left + box.width] = True
        usual = np.median(grey[~inside])
        assert np.abs(grey[~inside] - usual).max() < 45 and np.abs(grey[inside] - usual).max() > 45


def test_a_box_is_tight():
    """Ink in its outermost rows and columns, whatever the digit is scaled to."""
    images = datasets.opened("mnist5k").read("test").images[:, 0].numpy().astype(np.int64)
    for position, image in enumerate(images[:300]):
        cropped = scenes.crop(image)
        longer = 20 + position % 37
        height, width = (max(1, side * longer // max(cropped.shape)) for side in cropped.shape)
        ink = scenes.resize(cropped, height, width)
        assert min(edge.max() for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1])) >= scenes.INK // 2


def test_every_class_is_there_about_as_often(made):
    for scenes_ in made.values():
        sizes = np.bincount(np.concatenate([scene.labels for scene in scenes_]), minlength=10)
        assert sizes.min() > 0.85 * sizes.mean() and sizes.max() < 1.15 * sizes.mean()


def test_no_digit_is_used_in_both_splits(made):
    train, test = (
        {image.numpy().tobytes() for image in datasets.opened("mnist5k").read(split).images}
        for split in ("train", "test")
    )
    assert not train & test
    drawn = {split: sum(len(scene.labels) for scene in made[split]) for split in made}
    assert drawn["train"] <= len(train) and drawn["test"] <= len(test)  # none is drawn twice


def test_both_layouts_say_the_same(tmp_path):
    scenes.write(tmp_path)
    numbers = []
    for split, count in scenes.COUNTS.items():
        as_coco = coco.read(tmp_path / "annotations" / f"{split}.json", tmp_path / "images", scenes.CLASSES, "")
        lists = [tmp_path / "VOCdevkit" / "DIGITS" / "ImageSets" / "Main" / f"{split}.txt"]
        as_voc = voc.read(lists, scenes.CLASSES, "")
        assert len(as_coco) == len(as_voc) == count
        for one, other in zip(as_coco, as_voc, strict=True):
            numbers.append(one.id)
            assert one.id == int(other.id)
            assert np.array_equal(one.boxes, other.boxes) and np.array_equal(one.labels, other.labels)
            assert one.file.samefile(other.file)
    assert numbers == list(range(1, 801))


@given(
    st.integers(1, 28), st.integers(1, 28), st.integers(1, 60), st.integers(1, 60), st.randoms(use_true_random=False)
)
def test_resizing_interpolates_between_pixel_centres(height, width, tall, wide, random):
    image = np.array([[random.randrange(256) for _ in range(width)] for _ in range(height)], dtype=np.int64)
    found = scenes.resize(image, tall, wide)
    assert found.shape == (tall, wide) and found.min() >= image.min() and found.max() <= image.max()
    for row in (0, tall // 2, tall - 1):
        for column in (0, wide // 2, wide - 1):
            y = min(max((row + 0.5) * height / tall - 0.5, 0), height - 1)
            x = min(max((column + 0.5) * width / wide - 0.5, 0), width - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            above = image[y0, x0] * (1 - x + x0) + image[y0, x1] * (x - x0)
            below = image[y1, x0] * (1 - x + x0) + image[y1, x1] * (x - x0)
            assert found[row, column] == pytest.approx(above * (1 - y + y0) + below * (y - y0), abs=2.6)


def test_resizing_to_the_same_size_changes_nothing():
    image = np.arange(12, dtype=np.int64).reshape(3, 4) * 20
    assert np.array_equal(scenes.resize(image, 3, 4), image)


def test_a_crop_keeps_the_ink():
    image = np.zeros((28, 28), dtype=np.int64)
    image[3:9, 10:12] = 200
    image[2, 10] = scenes.INK - 1  # too faint
    assert scenes.crop(image).shape == (6, 2)


@pytest.mark.parametrize(
    "other, too_much",
    [
        (Box(0, 0, 10, 10), True),
        (Box(10, 0, 10, 10), False),
        (Box(8, 0, 10, 10), True),  # 20 / 180
        (Box(9, 0, 10, 10), False),  # 10 / 190
        (Box(9, 9, 10, 10), False),
    ],
)
def test_overlap(other, too_much):
    assert scenes.overlap(Box(0, 0, 10, 10), other) is too_much
    assert scenes.overlap(other, Box(0, 0, 10, 10)) is too_much
