"""Faster R-CNN of table 5; BACKBONE (resnet50, resnet101) and ATTENTION (none, se, eca) name its row."""

_base_ = "recipe.py"  # before the imports, or MMEngine would not make them

import os  # noqa: E402

from papers.eca_net.detectors import model_of  # noqa: E402

trained = os.environ.get("CHECKPOINT")  # "<slug>/<name>" of pinned weights of the backbone
model = model_of(
    "faster_rcnn",
    os.environ.get("BACKBONE", "resnet50"),
    os.environ.get("ATTENTION", "eca"),
    checkpoint=trained,
    frozen=trained is not None,
)
