"""Mask R-CNN of tables 5 and 6; BACKBONE (resnet50, resnet101) and ATTENTION (none, se, eca) name its row."""

_base_ = "recipe.py"  # before the imports, or MMEngine would not make them

import os  # noqa: E402

from papers.eca_net.detectors import model_of  # noqa: E402

trained = os.environ.get("CHECKPOINT")  # "<slug>/<name>" of pinned weights of the backbone
model = model_of(
    "mask_rcnn",
    os.environ.get("BACKBONE", "resnet50"),
    os.environ.get("ATTENTION", "eca"),
    checkpoint=trained,
    frozen=trained is not None,
)

with_masks = {"type": "LoadAnnotations", "with_bbox": True, "with_mask": True}
train_pipeline = [
    {"type": "LoadImageFromFile"},
    with_masks,
    {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PackDetInputs"},
]
test_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (1333, 800), "keep_ratio": True},
    with_masks,
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
train_dataloader = {"dataset": {"pipeline": train_pipeline}}
val_dataloader = test_dataloader = {"dataset": {"pipeline": test_pipeline}}
val_evaluator = test_evaluator = {"metric": ["bbox", "segm"]}
