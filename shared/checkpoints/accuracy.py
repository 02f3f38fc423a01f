"""The accuracy of weights on the test split of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared import datasets
from shared.builders import build
from shared.datasets.augment import Augment
from shared.weights.storage import fill, load_weights

BATCH = 256


def accuracy_of(slug: str, model: str, args: dict[str, Any], weights: Path, data: str) -> dict[str, Any]:
    """Top-1 accuracy of a safetensors file, on a GPU where there is one.

    Images that differ in size are seen as is customary for ImageNet: short side to 256 pixels, central 224.
    """
    spec = datasets.spec(data)
    network = build(slug, model, args, spec.classes, spec.shape[0])
    fill(network, load_weights(weights, None), weights)
    size = spec.shape[1]
    view = {"random_resized_crop": {"size": size}, "eval": {"resize": size * 8 // 7, "crop": size}}
    seen = Augment() if spec.fixed else Augment.model_validate(view)
    top1 = accuracy(network.to("cuda" if torch.cuda.is_available() else "cpu"), data, seen)
    return {"paper": slug, "model": model, "data": data, "images": spec.counts["test"], "top1": round(top1, 4)}


def accuracy(model: nn.Module, data: str, augment: Augment) -> float:
    """Top-1 accuracy in percent on the test split, seen as `augment` has it (its `eval` view, normalised).

    The network is put into evaluation mode; images go to the device that holds it.

    Raises:
        DataError: the data are missing or damaged.
    """
    device = next(model.parameters()).device
    module = datasets.datamodule(data, batch_size=BATCH, augment=augment, seed=0)
    module.data["test"] = module.open("test")  # the training split is not needed
    model.eval()
    right = 0
    with torch.inference_mode():
        for batch in module.test_dataloader():
            images, labels = module.transform(tuple(part.to(device) for part in batch), training=False)
            right += int((model(images).argmax(1) == labels).sum())
    return 100 * right / module.length("test")
