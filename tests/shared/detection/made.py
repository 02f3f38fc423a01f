"""Small made-up sets in both layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog")
REMEDY = "get it again"


def noise(path: Path, width: int, height: int) -> Path:
    """An image that no compression makes short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def coco_content() -> dict[str, Any]:
    """Three images: two cats and a dog, a crowd of dogs, nothing."""
    return {
        "images": [{"id": number, "file_name": f"{number}.jpg", "width": 40, "height": 30} for number in (7, 3, 5)],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 20, "bbox": [1.5, 2, 10, 20], "iscrowd": 0, "area": 200},
            {"id": 2, "image_id": 7, "category_id": 10, "bbox": [20, 0, 20, 30], "iscrowd": 0, "area": 600},
            {"id": 4, "image_id": 7, "category_id": 20, "bbox": [5, 5, 6, 6], "iscrowd": 0, "area": 36},
            {"id": 3, "image_id": 3, "category_id": 10, "bbox": [0, 0, 40, 10.5], "iscrowd": 1, "area": 420},
        ],
        "categories": [{"id": 10, "name": "dog"}, {"id": 20, "name": "cat"}],
    }


def write_coco(folder: Path, content: dict[str, Any] | None = None) -> tuple[Path, Path]:
    """The annotation file and the folder of the images."""
    content = coco_content() if content is None else content
    for number in (7, 3, 5):
        noise(folder / "images" / f"{number}.jpg", 40, 30)
    file = folder / "train.json"
    file.write_text(json.dumps(content))
    return file, folder / "images"


def voc_xml(name: str, *objects: str, size: str = "<width>40</width><height>30</height>", file: str = "") -> str:
    return (
        f"<annotation><filename>{file or name + '.jpg'}</filename><size>{size}<depth>3</depth></size>"
        f"{''.join(objects)}</annotation>"
    )


def voc_object(kind: str, *corners: object, more: str = "") -> str:
    sides = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{kind}</name>{more}<bndbox>{sides}</bndbox></object>"


def write_voc(folder: Path, **annotations: str) -> Path:
    """The list of the images."""
    for name, xml in annotations.items():
        noise(folder / "JPEGImages" / f"{name}.jpg", 40, 30)
        (folder / "Annotations").mkdir(exist_ok=True)
        (folder / "Annotations" / f"{name}.xml").write_text(xml)
    file = folder / "ImageSets" / "Main" / "train.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}\n" for name in annotations))
    return file


def detection(image: int | str, category: int, bbox: Any, score: float = 1.0) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": list(bbox), "score": score}
