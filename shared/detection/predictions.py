"""What a detector finds on the test split, as COCO's result files have it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from shared.detection.boxes import DetectionSet
from shared.detection.build import require
from shared.detection.config import dataset
from shared.detection.metrics import Detection
from shared.detection.network import DetectorNetwork
from shared.detection.recipe import DetectionRecipe


def predict(network: DetectorNetwork, recipe: DetectionRecipe, images: DetectionSet) -> list[Detection]:
    """The detections on the test split, in the coordinates of the images as they are stored; on a GPU where one is.

    With weights that are not finite, as a run leaves them that diverged, nothing is found.
    """
    if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
        return []
    require()
    import shared.detection.registry  # noqa: F401, I001  (registers our data sets)
    from mmdet.registry import DATASETS
    from mmengine.dataset import pseudo_collate
    from mmengine.device import get_device

    split: Any = DATASETS.build(dataset(images, "test", recipe))
    detector, categories = network.detector.to(get_device()).eval(), images.category_ids
    found: list[Detection] = []
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MMDetection, about PyTorch's own plans
        for start in range(0, len(split), recipe.batch_size):
            batch = [split[place] for place in range(start, min(start + recipe.batch_size, len(split)))]
            samples = [sample.to_dict() for sample in detector.test_step(pseudo_collate(batch))]
            found += as_detections(samples, categories)
    return found


def as_detections(samples: Iterable[dict[str, Any]], categories: Sequence[int]) -> list[Detection]:
    """The boxes of MMDetection's samples, and their outlines where they have any.

    Args:
        samples: what `test_step` gives, as dictionaries.
        categories: the `category_id` of each label.
    """
    found: list[Detection] = []
    for sample in samples:
        boxes = sample["pred_instances"]
        for place, ((left, top, right, bottom), score, label) in enumerate(
            zip(boxes["bboxes"].tolist(), boxes["scores"].tolist(), boxes["labels"].tolist(), strict=True)
        ):
            one = {
                "image_id": sample["img_id"],
                "category_id": categories[label],
                "bbox": [round(value, 2) for value in (left, top, right - left, bottom - top)],
                "score": round(score, 5),
            }
            if "masks" in boxes:
                one["segmentation"] = _runs(boxes["masks"][place])
            found.append(one)
    return found


def _runs(mask: torch.Tensor) -> dict[str, Any]:
    """A mask (H, W) in COCO's run-length form."""
    from mmdet.structures.mask import encode_mask_results

    (encoded,) = encode_mask_results([mask.cpu().numpy()])
    return {"size": list(encoded["size"]), "counts": encoded["counts"].decode("ascii")}
