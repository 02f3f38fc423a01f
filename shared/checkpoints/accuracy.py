"""The accuracy of weights on the test split of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shared import datasets
from shared.builders import build
from shared.datasets.augment import Augment
from shared.errors import UsageError
from shared.training.accuracy import seen
from shared.weights.storage import fill, load_weights


def accuracy_of(slug: str, model: str, args: dict[str, Any], weights: Path, data: str) -> dict[str, Any]:
    """Top-1 accuracy of a safetensors file, on a GPU where there is one.

    Images that differ in size are seen as is customary for ImageNet: short side to 256 pixels, central 224.
    """
    spec = datasets.spec(data)
    if not weights.is_file():
        raise UsageError(f"--weights {weights}: no such file")
    state = load_weights(weights, None)
    network = build(slug, model, args, spec.classes, spec.shape[0])
    fill(network, state, weights)
    size = spec.shape[1]
    view = {"random_resized_crop": {"size": size}, "eval": {"resize": size * 8 // 7, "crop": size}}
    augment = Augment() if spec.fixed else Augment.model_validate(view)
    top1 = seen(network, augment, data)["top1"]
    return {"paper": slug, "model": model, "data": data, "images": spec.counts["test"], "top1": top1}
