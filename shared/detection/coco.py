"""COCO's layout: one JSON file for a split, with `images`, `annotations` and `categories`.

https://cocodataset.org/#format-data. A `bbox` is [left, top, width, height] in pixels; `iscrowd` marks a group of
objects that no single box can claim.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from shared.detection.annotations import Annotated, arrays, check_box, check_split, read_file
from shared.errors import DataError

KEYS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": object, "area": object},
    "categories": {"id": int, "name": str},
}
KINDS = {int: "a whole number", str: "a text"}


def read(
    file: Path, images: Path, classes: Sequence[str], remedy: str, flat: Collection[int] = frozenset()
) -> list[Annotated]:
    """The images of a split in the file's order.

    Args:
        file: the JSON file.
        images: the folder with the images.
        classes: the names of the categories, in the order of the labels.
        remedy: the end of every error: how to get the right files.
        flat: annotations known to have no area, by number; they are left out.

    Raises:
        DataError: the file is missing, no JSON, or says something impossible; image and annotation are named.
    """
    content = _content(file, remedy)
    label_of = {number: label for label, number in enumerate(_numbers(content, file, classes, remedy))}
    found: dict[int, tuple[dict[str, Any], list[tuple[float, float, float, float]], list[int], list[bool]]] = {}
    for image in content["images"]:
        if image["id"] in found:
            raise DataError(f"{file}: image {image['id']} is there twice; {remedy}")
        if min(image["width"], image["height"]) < 1:
            raise DataError(f"{file}: image {image['id']} is {image['width']}x{image['height']}; {remedy}")
        found[image["id"]] = image, [], [], []
    seen: set[int] = set()
    for annotation in content["annotations"]:
        where = f"{file}: image {annotation['image_id']}, annotation {annotation['id']}"
        if annotation["id"] in seen:
            raise DataError(f"{where}: the annotation's number is there twice; {remedy}")
        if annotation["id"] < 1:
            raise DataError(f"{where}: number annotations from 1, as COCO's tools take 0 for no annotation; {remedy}")
        seen.add(annotation["id"])
        if annotation["image_id"] not in found:
            raise DataError(f"{where}: no such image in `images`; {remedy}")
        if annotation["category_id"] not in label_of:
            raise DataError(
                f"{where}: category {annotation['category_id']} is none of the {len(classes)} classes; {remedy}"
            )
        if annotation["id"] in flat:
            continue
        image, boxes, labels, ignored = found[annotation["image_id"]]
        if not (_is_number(annotation["area"]) and annotation["area"] >= 0):
            raise DataError(f"{where}: area {annotation['area']!r} is no number of pixels; {remedy}")
        if annotation.get("iscrowd", 0) not in (0, 1):
            raise DataError(f"{where}: iscrowd {annotation['iscrowd']!r} is neither 0 nor 1; {remedy}")
        box = _corners(annotation["bbox"], where, remedy)
        check_box(box, image["width"], image["height"], where, remedy)
        boxes.append(box)
        labels.append(label_of[annotation["category_id"]])
        ignored.append(bool(annotation.get("iscrowd", 0)))
    split = [
        Annotated(number, images / image["file_name"], image["width"], image["height"], *arrays(boxes, labels, ignored))
        for number, (image, boxes, labels, ignored) in found.items()
    ]
    check_split(split, str(file), remedy)
    return split


def category_numbers(file: Path, classes: Sequence[str], remedy: str) -> list[int]:
    """The `category_id` of each label: COCO numbers its 80 categories from 1 to 90, with gaps."""
    return _numbers(_content(file, remedy), file, classes, remedy)


def _content(file: Path, remedy: str) -> dict[str, Any]:
    try:
        content = json.loads(read_file(file, "no such annotation file", remedy))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: truncated or no JSON ({error}); {remedy}") from error
    for key, wanted in KEYS.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{file}: has no list `{key}`: not a COCO annotation file; {remedy}")
        for position, item in enumerate(content[key]):
            for name, kind in wanted.items():
                if not isinstance(item, dict) or name not in item:
                    raise DataError(f"{file}: {key}[{position}] has no `{name}`; {remedy}")
                if kind in KINDS and type(item[name]) is not kind:  # True is no whole number
                    raise DataError(
                        f"{file}: {key}[{position}]: `{name}` is {item[name]!r}, not {KINDS[kind]}; {remedy}"
                    )
    return content


def _numbers(content: dict[str, Any], file: Path, classes: Sequence[str], remedy: str) -> list[int]:
    number_of: dict[str, int] = {}
    for category in content["categories"]:
        if category["name"] in number_of or category["id"] in number_of.values():
            raise DataError(f"{file}: category {category['id']} ({category['name']}) is there twice; {remedy}")
        number_of[category["name"]] = category["id"]
    absent = [name for name in classes if name not in number_of]
    if absent:
        raise DataError(f"{file}: has no category {absent[0]!r} among its {len(number_of)}; {remedy}")
    return [number_of[name] for name in classes]


def _corners(bbox: Any, where: str, remedy: str) -> tuple[float, float, float, float]:
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_number, bbox))):
        raise DataError(f"{where}: bbox {bbox!r} is not four numbers [left, top, width, height]; {remedy}")
    left, top, width, height = map(float, bbox)
    return left, top, left + width, top + height


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # no NaN, which Python's JSON knows
