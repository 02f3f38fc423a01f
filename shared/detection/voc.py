"""PASCAL VOC's layout: one XML file for an image, and lists of names for the splits.

VOC2007 development kit, section 4. Corners are pixels counted from 1 and both belong to the box, so that a box is
xmax - xmin + 1 wide; here it becomes (xmin - 1, ymin - 1, xmax, ymax), whose width is the difference. `difficult` marks
an object that counts neither as missed nor as found.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from shared.detection.annotations import Annotated, arrays, check_box, check_split, read_file
from shared.errors import DataError


def read(lists: Sequence[Path], classes: Sequence[str], remedy: str) -> list[Annotated]:
    """The images of a split in the order of its lists.

    Args:
        lists: files ImageSets/Main/<name>.txt; Annotations/ and JPEGImages/ stand beside their ImageSets/.
        classes: the names of the classes, in the order of the labels.
        remedy: the end of every error: how to get the right files.

    Raises:
        DataError: a file is missing, no XML, or says something impossible; image and object are named.
    """
    split: dict[int | str, Annotated] = {}
    for file in lists:
        for name in _names(file, remedy):
            if name in split:
                raise DataError(f"{file}: image {name} is there twice; {remedy}")
            split[name] = _image(file.parents[2], name, list(classes), file, remedy)
    images = list(split.values())
    check_split(images, ", ".join(map(str, lists)), remedy)
    return images


def _names(file: Path, remedy: str) -> list[str]:
    try:
        return read_file(file, "no such list of images", remedy).decode("utf-8-sig").split()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is no text in UTF-8 ({error}); {remedy}") from error


def _image(folder: Path, name: str, classes: list[str], listed: Path, remedy: str) -> Annotated:
    file = folder / "Annotations" / f"{name}.xml"
    try:
        root = ElementTree.fromstring(
            read_file(file, f"no such annotation file, but {listed} lists image {name}", remedy)
        )
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the latter two: an encoding that is none
        raise DataError(f"{file}: truncated or no XML ({error}); {remedy}") from error
    width, height = (_pixels(root, f"size/{side}", str(file), remedy) for side in ("width", "height"))
    boxes, labels, ignored = [], [], []
    for position, item in enumerate(root.findall("object")):
        where = f"{file}: image {name}, object {position}"
        kind = item.findtext("name", "")
        if kind not in classes:
            raise DataError(f"{where}: its class {kind!r} is not one of the {len(classes)} known; {remedy}")
        left, top, right, bottom = (
            _number(item, f"bndbox/{key}", where, remedy) for key in ("xmin", "ymin", "xmax", "ymax")
        )
        box = left - 1, top - 1, right, bottom
        check_box(box, width, height, where, remedy)
        boxes.append(box)
        labels.append(classes.index(kind))
        ignored.append(item.findtext("difficult", "0").strip() == "1")
    image = folder / "JPEGImages" / (root.findtext("filename", "").strip() or f"{name}.jpg")
    if image.stem != name:
        raise DataError(f"{file}: is about {image.name}, not about image {name}; {remedy}")
    return Annotated(name, image, width, height, *arrays(boxes, labels, ignored))


def _pixels(element: Element, path: str, where: str, remedy: str) -> int:
    number = _number(element, path, where, remedy)
    if not (number.is_integer() and number > 0):  # neither does NaN, nor infinity
        raise DataError(f"{where}: `{path}` is {number:g}, not a whole number of pixels; {remedy}")
    return int(number)


def _number(element: Element, path: str, where: str, remedy: str) -> float:
    text = element.findtext(path)
    try:
        return float(text or "")
    except ValueError as error:
        raise DataError(f"{where}: `{path}` is {text!r}, not a number; {remedy}") from error
