from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from shared.detection.annotations import Annotated
from shared.errors import DataError
from shared.figures.boxes import show_detections
from shared.figures.plots import BLUE, ORANGE

NAMES = {7: "seven", 9: "nine"}


@pytest.fixture
def image(tmp_path: Path) -> Annotated:
    pixels = np.arange(40 * 60 * 3, dtype=np.uint8).reshape(40, 60, 3)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    boxes = np.array([[5.0, 6, 25, 16], [30, 10, 50, 40]])
    ignored = np.array([False, True])
    return Annotated(3, tmp_path / "image.png", 60, 40, boxes, np.array([0, 1]), ignored)


def detection(score: float, image_id: int = 3) -> dict[str, object]:
    return {"image_id": image_id, "category_id": 7, "bbox": [4.0, 20.0, 12.0, 8.0], "score": score}


def frames(image: Annotated, found: list[dict[str, object]], colour: str) -> list[Rectangle]:
    axes = Figure().subplots()
    show_detections(axes, image, found, NAMES)
    drawn = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [patch for patch in drawn if patch.get_edgecolor() == to_rgba(colour)]


def test_true_boxes_lie_where_the_annotation_says(image: Annotated) -> None:
    counted, ignored = frames(image, [], BLUE)
    assert (*counted.get_xy(), counted.get_width(), counted.get_height()) == (5, 6, 20, 10)
    assert (counted.get_linestyle(), ignored.get_linestyle()) == ("-", "--")


def test_only_sure_detections_of_this_image_are_drawn(image: Annotated) -> None:
    (drawn,) = frames(image, [detection(0.9), detection(0.1), detection(0.9, image_id=4)], ORANGE)
    assert (*drawn.get_xy(), drawn.get_width(), drawn.get_height()) == (4, 20, 12, 8)


def test_a_detection_bears_its_name_and_score_on_the_image(image: Annotated) -> None:
    axes = Figure().subplots()
    show_detections(axes, image, [detection(0.876)], NAMES, title="scene")
    assert [text.get_text() for text in axes.texts] == ["seven 0.88"]
    assert axes.get_title() == "scene"
    assert np.asarray(axes.images[0].get_array()).shape == (40, 60, 3)


def test_an_image_that_is_not_there_is_an_error(image: Annotated) -> None:
    image.file.unlink()
    with pytest.raises(DataError, match=f"^{image.file}: cannot be decoded .*No such file"):
        show_detections(Figure().subplots(), image, [], NAMES)
