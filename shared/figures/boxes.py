"""Detections drawn on their image, beside what is really there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from shared.detection.annotations import Annotated, read_pixels
from shared.figures.plots import BLACK, BLUE, ORANGE

LINE = 1.5  # points


def show_detections(
    axes: Axes,
    image: Annotated,
    found: Iterable[Mapping[str, Any]],
    names: Mapping[int, str],
    *,
    at_least: float = 0.3,
    title: str = "",
) -> None:
    """Draw an image, its true boxes (blue, dashed where they are ignored) and detections (orange) with name and score.

    Args:
        axes: where to draw.
        image: with its true boxes.
        found: detections as the COCO tools read them, of any images; those of another `image_id` are left out.
        names: of the classes, by `category_id`.
        at_least: the lowest score that is drawn.
        title: above the image.
    """
    axes.imshow(read_pixels(image.file, image.width, image.height, str(image.file)), interpolation="nearest")
    for (left, top, right, bottom), ignored in zip(image.boxes.tolist(), image.ignored.tolist(), strict=True):
        _frame(axes, (left, top, right - left, bottom - top), BLUE, dashed=ignored)
    mine = [one for one in found if one["image_id"] == image.id and one["score"] >= at_least]
    for one in sorted(mine, key=lambda detection: detection["score"]):
        _frame(axes, one["bbox"], ORANGE)
        left, top = max(one["bbox"][0], 0), max(one["bbox"][1], 0)
        label = axes.text(left, top, f"{names[one['category_id']]} {one['score']:.2f}", fontsize=6.5, color=BLACK)
        label.set_verticalalignment("bottom" if top > image.height / 10 else "top")
        label.set_bbox({"facecolor": ORANGE, "alpha": 0.75, "pad": 0.8, "linewidth": 0})
        label.set_clip_on(True)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, loc="center", pad=3)


def _frame(axes: Axes, box: Sequence[float], colour: str, *, dashed: bool = False) -> None:
    left, top, width, height = box
    style = "--" if dashed else "-"
    axes.add_patch(Rectangle((left, top), width, height, fill=False, edgecolor=colour, linewidth=LINE, linestyle=style))
