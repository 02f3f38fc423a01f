"""COCO's images in VOC's layout: the annotations of one archive, and from another the images that they are about."""

from __future__ import annotations

import functools
from pathlib import Path

from shared.datasets.find import obtain
from shared.datasets.spec import DatasetSpec
from shared.detection import packed
from shared.detection.boxes import DetectionSet

LISTS = {"train2017": "train", "val2017": "val"}


def reader(spec: DatasetSpec) -> DetectionSet:
    """The set, made from the two archives."""
    return DetectionSet(spec, functools.partial(make, spec), packed.digest)


def make(spec: DatasetSpec, folder: Path) -> None:
    """Fill an empty folder with VOC's files and the images that their lists name."""
    annotations, images = spec.files
    packed.unpack(obtain(spec, annotations), folder)
    names = {}
    for split, listed in LISTS.items():
        for name in (folder / "COCO20" / "ImageSets" / "Main" / f"{listed}.txt").read_text(encoding="utf-8").split():
            names[f"images/{split}/{name}.jpg"] = f"COCO20/JPEGImages/{name}.jpg"
    packed.unpack(obtain(spec, images), folder, names)
