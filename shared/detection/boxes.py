"""A data set with boxes in COCO's or in VOC's layout: where it lies, how it is made, read and verified."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shared import datasets
from shared.datasets.find import find, folders, raw_folder
from shared.datasets.spec import SPLITS, Boxes, DatasetSpec, SplitName
from shared.detection import coco, voc
from shared.detection.annotations import Annotated, check_present, read_pixels
from shared.errors import DataError, UsageError


@dataclass(frozen=True)
class DetectionSet:
    """A data set with boxes.

    Attributes:
        spec: what it is; `spec.boxes` says how it lies on the disk.
        make: for a set that is made here: fills an empty folder, which then becomes `spec.boxes.root`.
        digest: of that folder, when it is whole; `spec.digest` is what it must give.
    """

    spec: DatasetSpec
    make: Callable[[Path], None] | None = None
    digest: Callable[[Path], str] | None = None

    @property
    def files(self) -> Boxes:
        """How the set lies on the disk."""
        assert self.spec.boxes is not None, "a set without boxes"
        return self.spec.boxes

    @property
    def layout(self) -> Literal["coco", "voc"]:
        """Whose files, and whose metric."""
        return self.files.layout

    @property
    def name(self) -> str:
        """The name by which a protocol asks for it."""
        return self.spec.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in the order of the labels."""
        return self.spec.labels

    @property
    def category_ids(self) -> list[int]:
        """The `category_id` of each label: COCO's own number, or the label itself in VOC's layout."""
        if self.layout == "voc":
            return list(range(len(self.classes)))
        return coco.category_numbers(self.annotation_files("test")[0], self.classes, self._remedy)

    def root(self) -> Path | None:
        """The root folder on this machine; None when the set is not here."""
        home, root = self.files.home, self.files.root
        places = [raw_folder(home)] if home else list(folders(self.spec))
        return next((place for place in places if (place / root).is_dir()), None)

    def prepare(self) -> Path:
        """The root folder; the set is made or unpacked when it is not here and can be.

        DataError when the set, or what it is made from, is missing or damaged. What is here already is not verified:
        that is `count`.
        """
        found, home, root = self.root(), self.files.home, self.files.root
        if found is not None:
            return found
        if home is None or self.make is None:
            raise DataError(f"{self.name}: no folder {root} is here; {self.spec.obtain}")
        place = raw_folder(home)
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place, prefix=f".{root}.") as scratch:
                folder = Path(scratch) / root
                folder.mkdir()
                self.make(folder)
                self._check_digest(folder)
                try:
                    os.rename(folder, place / root)
                except OSError:
                    if not (place / root).is_dir():  # unless another process was first: its folder is as good
                        raise
        except OSError as error:
            raise DataError(f"{place}: {self.name} cannot be written ({error.strerror or error})") from error
        return place

    def read(self, split: SplitName) -> list[Annotated]:
        """The images of a split with their boxes. Every annotation is checked; the images are there, but not opened.

        DataError names the annotation file, the image and the remedy.
        """
        files, remedy = self.annotation_files(split), self._remedy
        if self.layout == "coco":
            folder = self.prepare() / self.files.splits[split].images
            images = coco.read(files[0], folder, self.classes, remedy, self.files.flat)
        else:
            images = voc.read(files, self.classes, remedy)
        where, boxes = ", ".join(map(str, files)), sum(len(image.labels) for image in images)
        for found, expected, what in (
            (len(images), self.spec.counts[split], "images"),
            (boxes, self.files.splits[split].boxes, "boxes"),
        ):
            if expected is not None and found != expected:
                raise DataError(f"{where}: {found} {what}, but {self.name} has {expected}; {remedy}")
        for image in images:
            check_present(image, where, remedy)
        return images

    def annotation_files(self, split: SplitName) -> list[Path]:
        """COCO's JSON file of a split, or VOC's lists."""
        root = self.prepare()
        return [root / file for file in self.files.splits[split].annotations]

    def count(self) -> dict[str, Any]:
        """Make the set when needed, and check hashes, counts, every annotation and every image.

        Returns:
            For each split under `annotations` what was counted: images, images without a box, boxes, ignored boxes,
            and the boxes of the smallest and of the largest class.
        """
        root, counted = self.prepare(), {}
        for split in SPLITS:
            images, where = self.read(split), ", ".join(map(str, self.annotation_files(split)))
            for image in images:
                label = f"{image.file}: image {image.id} of {where}"
                read_pixels(image.file, image.width, image.height, label, self._remedy)
            counted[split] = _count(images, len(self.classes))
        if self.files.home:
            self._check_digest(root / self.files.root)
        return {"annotations": counted}

    def locate(self) -> dict[str, Path | None]:
        """Where the set lies on this machine, or None; and what it is made from, when it is still to be made."""
        root, name = self.root(), self.files.root
        located = {name: root / name if root else None}
        if self.make is not None and root is None:
            located |= {file.name: find(self.spec, file) for file in self.spec.files}
        return located

    @property
    def _remedy(self) -> str:
        if self.files.home:
            return f"delete {raw_folder(self.files.home) / self.files.root}, then: {self.spec.obtain}"
        return self.spec.obtain

    def _check_digest(self, folder: Path) -> None:
        found = self.digest(folder) if self.digest else None
        if found != self.spec.digest:
            raise DataError(f"{folder}: the content's digest is {found}, not {self.spec.digest}; {self._remedy}")


def reader(spec: DatasetSpec) -> DetectionSet:
    """A set that is never made here: its folder is found, or is not here."""
    return DetectionSet(spec)


def detection_set(name: str) -> DetectionSet:
    """The set of that name; UsageError when there is none, or when it has no boxes."""
    if datasets.spec(name).boxes is None:
        known = [one for one in datasets.names() if datasets.spec(one).boxes]
        raise UsageError(f"{name}: is a set without boxes; those with boxes: {', '.join(known)}")
    found: DetectionSet = datasets.opened(name)
    return found


def _count(images: list[Annotated], classes: int) -> dict[str, int]:
    sizes = sum((np.bincount(image.labels, minlength=classes) for image in images), np.zeros(classes, dtype=np.int64))
    return {
        "images": len(images),
        "without_boxes": sum(not len(image.labels) for image in images),
        "boxes": int(sizes.sum()),
        "ignored": sum(int(image.ignored.sum()) for image in images),
        "smallest_class": int(sizes.min()),
        "largest_class": int(sizes.max()),
    }
