"""Scenes of handwritten digits: a detection set for a machine that has nothing but the installed packages.

A scene is a textured background with one to six digits of mnist5k, each at a size, a place and a colour of its own.
Every number is drawn by counter (shared/datasets/rng.py) and all arithmetic is in integers, so that the pixels and the
boxes are the same on every machine; a pinned digest proves it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from shared import datasets
from shared.datasets import mnist5k, rng
from shared.datasets.spec import SPLITS, DatasetSpec, SplitName
from shared.detection import coco, voc
from shared.detection.annotations import check_present, read_pixels
from shared.detection.boxes import DetectionSet

SEED = 0
SIDE = 128  # of a scene, in pixels
COUNTS: dict[SplitName, int] = {"train": 600, "test": 200}
CLASSES = tuple("0123456789")
DIGITS = (1, 6)  # in a scene, as far as there is room
LONGER = (20, 56)  # the longer side of a digit's box, in pixels
OVERLAP = 10  # per cent: no two boxes of a scene have a greater intersection over union
TRIES = 12  # places tried for a digit before it is left out
INK = 64  # of 255: what is fainter does not belong to a digit's box
CELLS = (4, 16)  # the lattices of the background: its slow change and its texture, in cells across the scene

# Streams of random numbers, behind those that shared/datasets/rng.py names.
LAYOUT, LATTICE, GRAIN = 16, 17, 18


class Box(NamedTuple):
    """A digit's box, in pixels from the scene's upper left corner."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Scene:
    """`pixels` is uint8 (SIDE, SIDE, 3); `boxes` and `labels` have one entry for each digit."""

    pixels: NDArray[np.uint8]
    boxes: list[Box]
    labels: list[int]


class Draws:
    """Whole numbers drawn one after another for one scene."""

    def __init__(self, epoch: int, scene: int) -> None:
        count = 16 + DIGITS[1] * (8 + 3 * TRIES)
        units = rng.uniform(SEED, epoch, torch.tensor([scene]), count, LAYOUT)[0]
        self.left = iter((units.double() * 2**24).to(torch.int64).tolist())  # exact: multiples of 2**-24

    def between(self, low: int, high: int) -> int:
        """A number from low to high, both included."""
        return low + (next(self.left) * (high - low + 1) >> 24)


def reader(spec: DatasetSpec) -> DetectionSet:
    """The scenes in the layout that the set has; both are made at once."""
    return DetectionSet(spec, write, digest)


def scenes(split: SplitName) -> list[Scene]:
    """The scenes of a split. Its digits come from the same split of mnist5k, each once before any comes again."""
    digits, epoch = mnist5k.read(datasets.spec("mnist5k"), split), SPLITS.index(split)
    order = rng.permutation(SEED, epoch, len(digits)).tolist()
    images, labels = digits.images[:, 0].numpy().astype(np.int64), digits.labels.tolist()
    made, used = [], 0
    for number in range(COUNTS[split]):
        draws = Draws(epoch, number)
        pixels, dark = _background(draws, epoch, number)
        boxes: list[Box] = []
        chosen: list[int] = []
        for _ in range(draws.between(*DIGITS)):
            digit = order[used % len(order)]
            used += 1
            cropped = crop(images[digit])
            box = _place(draws, cropped.shape, boxes)
            if box is None:
                continue
            boxes.append(box)
            chosen.append(labels[digit])
            _paint(pixels, resize(cropped, box.height, box.width), box, draws, dark)
        made.append(Scene(pixels.astype(np.uint8), boxes, chosen))
    return made


def crop(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part of a digit (28, 28) within the rows and columns that have ink."""
    rows, columns = (np.flatnonzero((image >= INK).any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resize(image: NDArray[np.int64], height: int, width: int) -> NDArray[np.int64]:
    """Bilinear interpolation of (h, w) in whole numbers: weights in 1/256, pixel centres on pixel centres."""
    top, down = _weights(image.shape[0], height)
    left, right = _weights(image.shape[1], width)
    below, beside = np.minimum(top + 1, image.shape[0] - 1), np.minimum(left + 1, image.shape[1] - 1)
    rows = image[top] * (256 - down)[:, None] + image[below] * down[:, None]
    return (rows[:, left] * (256 - right) + rows[:, beside] * right + 2**15) >> 16


def _weights(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each of `target` pixels, the source pixel before it and the next one's weight in 1/256."""
    at = ((2 * np.arange(target, dtype=np.int64) + 1) * source * 256) // (2 * target) - 128
    at = np.clip(at, 0, (source - 1) * 256)
    return at >> 8, at & 255


def _background(draws: Draws, epoch: int, scene: int) -> tuple[NDArray[np.int64], bool]:
    """(SIDE, SIDE, 3) of low contrast, and whether it is dark."""
    dark = draws.between(0, 1) == 0
    base = draws.between(40, 90) if dark else draws.between(165, 215)
    pixels = np.stack([np.full((SIDE, SIDE), base + draws.between(-15, 15), dtype=np.int64) for _ in range(3)], axis=2)
    points = sum((cells + 1) ** 2 for cells in CELLS)
    units = rng.uniform(SEED, epoch, torch.tensor([scene]), points, LATTICE)[0].double()
    values = (units * 2**24).to(torch.int64).numpy() >> 16  # 0..255
    for cells, amplitude in zip(CELLS, (32, 20), strict=True):
        lattice, values = values[: (cells + 1) ** 2].reshape(cells + 1, cells + 1), values[(cells + 1) ** 2 :]
        pixels += ((resize(lattice, SIDE, SIDE) - 128) * amplitude >> 8)[:, :, None]
    grain = rng.uniform(SEED, epoch, torch.tensor([scene]), SIDE * SIDE, GRAIN)[0].double()
    pixels += ((grain * 2**24).to(torch.int64).numpy() * 9 >> 24).reshape(SIDE, SIDE, 1) - 4
    return np.clip(pixels, 0, 255), dark


def _place(draws: Draws, shape: tuple[int, ...], others: list[Box]) -> Box | None:
    """A box of the digit's proportions that hardly overlaps the others; None when no try found room."""
    longer = draws.between(*LONGER)
    height, width = (max(1, side * longer // max(shape)) for side in shape)
    for _ in range(TRIES):
        box = Box(draws.between(0, SIDE - width), draws.between(0, SIDE - height), width, height)
        if not any(overlap(box, other) for other in others):
            return box
    return None


def overlap(one: Box, other: Box) -> bool:
    """Whether the intersection over union of two boxes is greater than OVERLAP."""
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(0, wide) * max(0, high)
    return 100 * shared > OVERLAP * (one.width * one.height + other.width * other.height - shared)


def _paint(pixels: NDArray[np.int64], ink: NDArray[np.int64], box: Box, draws: Draws, dark: bool) -> None:
    """Lay a digit over the scene in a colour of its own: bright on a dark scene, dark on a bright one."""
    brightness = draws.between(150, 225) if dark else draws.between(30, 105)
    colour = np.array([min(255, brightness + draws.between(-30, 30)) for _ in range(3)], dtype=np.int64)
    part = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    part[:] = (part * (255 - ink[:, :, None]) + colour * ink[:, :, None] + 127) // 255


def write(folder: Path) -> None:
    """Write both splits into an empty folder, in COCO's layout and in VOC's, over the same images.

    images/ holds them as PNG, annotations/{train,test}.json are COCO's, and VOCdevkit/DIGITS is VOC's form, whose
    JPEGImages is a link to images/. Image and annotation numbers count through both splits.
    """
    devkit = folder / "VOCdevkit" / "DIGITS"
    for made in (folder / "images", folder / "annotations", devkit / "Annotations", devkit / "ImageSets" / "Main"):
        made.mkdir(parents=True)
    (devkit / "JPEGImages").symlink_to(Path("..", "..", "images"))
    first, objects = 1, 1
    for split in SPLITS:
        content: dict[str, list[dict[str, object]]] = {"images": [], "annotations": []}
        names = []
        for number, scene in enumerate(scenes(split), start=first):
            name = f"{number:06d}"
            names.append(name)
            Image.fromarray(scene.pixels).save(folder / "images" / f"{name}.png")
            (devkit / "Annotations" / f"{name}.xml").write_text(_xml(name, scene), encoding="utf-8")
            content["images"].append({"id": number, "file_name": f"{name}.png", "width": SIDE, "height": SIDE})
            for box, label in zip(scene.boxes, scene.labels, strict=True):
                content["annotations"].append(
                    {
                        "id": objects, "image_id": number, "category_id": label + 1, "bbox": list(box),
                        "area": box.width * box.height, "iscrowd": 0,
                    }
                )  # fmt: skip
                objects += 1
        first += len(names)
        categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
        (folder / "annotations" / f"{split}.json").write_text(json.dumps({**content, "categories": categories}) + "\n")
        (devkit / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


def _xml(name: str, scene: Scene) -> str:
    """VOC's record of a scene: corners count from 1, and both belong to the box."""
    objects = "".join(
        f"<object><name>{CLASSES[label]}</name><difficult>0</difficult><bndbox><xmin>{box.left + 1}</xmin>"
        f"<ymin>{box.top + 1}</ymin><xmax>{box.left + box.width}</xmax><ymax>{box.top + box.height}</ymax></bndbox>"
        "</object>\n"
        for box, label in zip(scene.boxes, scene.labels, strict=True)
    )
    return (
        f"<annotation><folder>DIGITS</folder><filename>{name}.png</filename>"
        f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>\n{objects}</annotation>\n"
    )


def digest(folder: Path) -> str:
    """SHA-256 over what a detector sees, read from both layouts: of each image its number, pixels, boxes and labels."""
    main, remedy = folder / "VOCdevkit" / "DIGITS" / "ImageSets" / "Main", "make it again"
    total = hashlib.sha256()
    for split in SPLITS:
        as_coco = coco.read(folder / "annotations" / f"{split}.json", folder / "images", CLASSES, remedy)
        for image in (*as_coco, *voc.read([main / f"{split}.txt"], CLASSES, remedy)):
            check_present(image, str(folder), remedy)
            read = read_pixels(image.file, image.width, image.height, str(image.file), remedy)
            pixels = hashlib.sha256(read.tobytes()).hexdigest()
            boxes = image.boxes.astype(np.int64).tolist()
            total.update(f"{split} {int(image.id)} {pixels} {boxes} {image.labels.tolist()}\n".encode())
    return total.hexdigest()
