"""Images with boxes, whichever layout they come from, and what every one of them is checked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.datasets.image_file import read_image
from shared.errors import DataError

OVERHANG = 1.0  # pixels: hand-drawn boxes may touch the rim; what is farther out belongs to another image


@dataclass(frozen=True)
class Annotated:
    """One image and its objects.

    `id` is COCO's number or VOC's name. `boxes` is float64 (N, 4): left, top, right, bottom in pixels from the image's
    upper left corner, so that right - left is the width in pixels in both layouts. `labels` is int64 (N,), counted from
    0 in the order of the set's classes. `ignored` is bool (N,): COCO's crowds, VOC's difficult objects.
    """

    id: int | str
    file: Path
    width: int
    height: int
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]


def read_file(file: Path, absent: str, remedy: str) -> bytes:
    """The bytes of a file with annotations; DataError when it is missing (`absent` says what is) or cannot be read."""
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{file}: {absent}; {remedy}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); {remedy}") from error


def check_box(box: tuple[float, float, float, float], width: int, height: int, where: str, remedy: str) -> None:
    """DataError unless the box has an area and lies inside its image, but for OVERHANG.

    Args:
        box: left, top, right, bottom in pixels.
        width: of the image.
        height: of the image.
        where: names file, image and object.
        remedy: what to do about it.
    """
    left, top, right, bottom = box
    if not all(math.isfinite(side) for side in box):
        problem = "is not finite"
    elif right <= left or bottom <= top:
        problem = "has no area"
    elif left < -OVERHANG or top < -OVERHANG or right > width + OVERHANG or bottom > height + OVERHANG:
        problem = f"is outside its image of {width}x{height}"
    else:
        return
    raise DataError(f"{where}: the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) {problem}; {remedy}")


def check_split(images: list[Annotated], where: str, remedy: str) -> None:
    """DataError when there is no image, or no object in any of them."""
    if not images:
        raise DataError(f"{where}: lists no image; {remedy}")
    if not any(len(image.labels) for image in images):
        raise DataError(f"{where}: none of its {len(images)} images has a box; {remedy}")


def check_present(image: Annotated, where: str, remedy: str) -> None:
    """DataError when the image's file is missing or empty; it is not opened."""
    label = f"{image.file}: image {image.id} of {where}"
    if not image.file.is_file():
        raise DataError(f"{label}: no such file; {remedy}")
    if image.file.stat().st_size == 0:
        raise DataError(f"{label}: the file is empty; {remedy}")


def read_pixels(file: Path, width: int, height: int, where: str, remedy: str = "get it again") -> NDArray[np.uint8]:
    """The pixels that boxes are about, RGB (height, width, 3): verification, training and evaluation read them here.

    Args:
        file: the image; see `read_image`.
        width: as the annotations record it.
        height: as the annotations record it.
        where: names the image.
        remedy: what to do about an error.

    Raises:
        DataError: the image cannot be read, or is not stored in the recorded size.
    """
    pixels = np.asarray(read_image(file, where, remedy))
    found = f"{pixels.shape[1]}x{pixels.shape[0]}"
    if found != f"{width}x{height}":
        raise DataError(
            f"{where}: is stored as {found}, but {width}x{height} is recorded: another image, or one that viewers turn "
            f"by its EXIF orientation, which is not applied here (then store it upright); {remedy}"
        )
    return pixels


def arrays(
    boxes: list[tuple[float, float, float, float]], labels: list[int], ignored: list[bool]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """The arrays of an `Annotated`, with their shapes also where there is no object."""
    return (
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.array(ignored, dtype=np.bool_),
    )
