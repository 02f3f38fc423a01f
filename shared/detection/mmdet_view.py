"""Our data sets for MMDetection: one class for both layouts, fed by the readers that check every annotation.

MMDetection's own VOC reader takes one pixel off the right and the lower side of every box and knows no suffix but .jpg;
its COCO reader leaves out impossible boxes without a word. Its LoadImageFromFile turns an image by its EXIF tag, away
from boxes that are about the pixels as they are stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS, TRANSFORMS

from shared.datasets.spec import SplitName
from shared.detection.annotations import read_pixels
from shared.detection.boxes import detection_set


@DATASETS.register_module()
class AnnotatedImages(BaseDetDataset):
    """A split of one of our sets.

    Args:
        name: of the set.
        split: "train" or "test".
        options: those of MMDetection's BaseDetDataset; `filter_cfg` knows `filter_empty_gt`, which leaves out images
            without a box that counts.
    """

    def __init__(self, name: str, split: SplitName, **options: Any) -> None:
        self.source, self.split = detection_set(name), split
        super().__init__(metainfo={"classes": self.source.classes}, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One dictionary for each image; crowds and difficult objects are flagged to be ignored."""
        return [
            {
                "img_id": image.id,
                "img_path": str(image.file),
                "width": image.width,
                "height": image.height,
                "instances": [
                    {"bbox": box, "bbox_label": label, "ignore_flag": int(ignored)}
                    for box, label, ignored in zip(
                        image.boxes.tolist(), image.labels.tolist(), image.ignored.tolist(), strict=True
                    )
                ],
            }
            for image in self.source.read(self.split)
        ]

    def filter_data(self) -> list[dict[str, Any]]:
        """The images to be used."""
        if self.test_mode or not (self.filter_cfg or {}).get("filter_empty_gt", False):
            return self.data_list
        return [one for one in self.data_list if any(not item["ignore_flag"] for item in one["instances"])]


@TRANSFORMS.register_module()
class ReadPixels(BaseTransform):
    """The first step of a pipeline: the pixels of an image, as verification has read them."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `img`, uint8 (height, width, 3) in MMDetection's order blue, green, red, and its shapes.

        DataError when the image cannot be read, or is not stored in the recorded `width` and `height`.
        """
        file = results["img_path"]
        pixels = read_pixels(Path(file), results["width"], results["height"], file)
        results["img"] = np.ascontiguousarray(pixels[:, :, ::-1])
        results["img_shape"] = results["ori_shape"] = pixels.shape[:2]
        return results
