"""A detection data set in COCO's or in VOC's layout: where it lies, how it is made, read and verified."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shared.datasets.find import find, folders, raw_folder
from shared.datasets.spec import SPLITS, DatasetSpec, SplitName
from shared.detection import coco, voc
from shared.detection.annotations import Annotated, check_pixels, check_present
from shared.errors import DataError


@dataclass(frozen=True)
class DetectionSplit:
    """The files of a split, by their paths from the set's root.

    `annotations` is COCO's one JSON file, or VOC's lists of names. `images` is the folder with COCO's images; VOC's
    stand beside the lists. `boxes` counts the objects, ignored ones too; None where we have not seen the files
    ourselves.
    """

    annotations: tuple[str, ...]
    images: str = ""
    boxes: int | None = None


@dataclass(frozen=True)
class DetectionSet:
    """A data set with boxes.

    Attributes:
        spec: name, title, classes (`labels`), counts of images, source, terms, pinned hashes, fingerprint.
        layout: whose files, and whose metric.
        marker: the folder by which the root is known: the root holds it.
        splits: the files of each split.
        home: for a set that is made here: the data/<home>/raw that it is made in.
        make: fills an empty folder, which then becomes `marker`.
        digest: of that folder, when it is whole; `spec.digest` is what it must give.
        flat: COCO annotations of the official files that have no area; they are left out.
    """

    spec: DatasetSpec
    layout: Literal["coco", "voc"]
    marker: str
    splits: dict[SplitName, DetectionSplit]
    home: str | None = None
    make: Callable[[Path], None] | None = None
    digest: Callable[[Path], str] | None = None
    flat: frozenset[int] = frozenset()

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

    def locate(self) -> Path | None:
        """The root folder on this machine; None when the set is not here."""
        places = [raw_folder(self.home)] if self.home else list(folders(self.spec))
        return next((place for place in places if (place / self.marker).is_dir()), None)

    def prepare(self) -> Path:
        """The root folder; the set is made or unpacked when it is not here and can be.

        DataError when the set, or what it is made from, is missing or damaged. What is here already is not verified:
        that is `verify`.
        """
        root = self.locate()
        if root is not None:
            return root
        if self.home is None or self.make is None:
            raise DataError(f"{self.name}: no folder {self.marker} is here; {self.spec.obtain}")
        place = raw_folder(self.home)
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place, prefix=f".{self.marker}.") as scratch:
                folder = Path(scratch) / self.marker
                folder.mkdir()
                self.make(folder)
                self._check_digest(folder)
                try:
                    os.rename(folder, place / self.marker)
                except OSError:
                    if not (place / self.marker).is_dir():  # unless another process was first: its folder is as good
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
            folder = self.prepare() / self.splits[split].images
            images = coco.read(files[0], folder, self.classes, remedy, self.flat)
        else:
            images = voc.read(files, self.classes, remedy)
        where, boxes = ", ".join(map(str, files)), sum(len(image.labels) for image in images)
        for found, expected, what in (
            (len(images), self.spec.counts[split], "images"),
            (boxes, self.splits[split].boxes, "boxes"),
        ):
            if expected is not None and found != expected:
                raise DataError(f"{where}: {found} {what}, but {self.name} has {expected}; {remedy}")
        for image in images:
            check_present(image, where, remedy)
        return images

    def annotation_files(self, split: SplitName) -> list[Path]:
        """COCO's JSON file of a split, or VOC's lists."""
        root = self.prepare()
        return [root / file for file in self.splits[split].annotations]

    def mmdet(self, split: SplitName) -> dict[str, Any]:
        """The split as MMDetection's configuration names it, to be completed by a pipeline."""
        import shared.detection.dataset  # noqa: F401  (registers itself)

        return {"type": "AnnotatedImages", "name": self.name, "split": split}

    def verify(self) -> dict[str, Any]:
        """Make the set when needed, check hashes, counts, every annotation and every image; see `describe`.

        Returns:
            The description, and for each split under `annotations` what was counted: images, images without a box,
            boxes, ignored boxes, and the boxes of the smallest and of the largest class.
        """
        root, counted = self.prepare(), {}
        for split in SPLITS:
            images, where = self.read(split), ", ".join(map(str, self.annotation_files(split)))
            for image in images:
                check_pixels(image, where, self._remedy)
            counted[split] = _count(images, len(self.classes))
        if self.home:
            self._check_digest(root / self.marker)
        return {**self.describe(), "annotations": counted}

    def describe(self) -> dict[str, Any]:
        """What the set is and where it lies on this machine (looked for, not verified)."""
        spec, root = self.spec, self.locate()
        located = {self.marker: root / self.marker if root else None}
        if self.make is not None and root is None:
            located |= {file.name: find(spec, file) for file in spec.files}
        return spec.describe(located) | {"layout": self.layout}

    @property
    def _remedy(self) -> str:
        if self.home:
            return f"delete {raw_folder(self.home) / self.marker}, then: {self.spec.obtain}"
        return self.spec.obtain

    def _check_digest(self, folder: Path) -> None:
        found = self.digest(folder) if self.digest else None
        if found != self.spec.digest:
            raise DataError(f"{folder}: the content's digest is {found}, not {self.spec.digest}; {self._remedy}")


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
