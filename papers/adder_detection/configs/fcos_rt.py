"""FCOS-RT: FCOS at 736x512 on COCO, several scales, 48 epochs (table 5); the switch stands in _base_/switch.py.

The scales of training are those of AdelaiDet's FCOS-RT (recalled; the paper names none).
"""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/coco.py", "_base_/schedule.py"]

model = {"detector": "fcos"}
train_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations", "with_bbox": True},
    {"type": "RandomChoiceResize", "scales": [(900, short) for short in range(256, 609, 32)], "keep_ratio": True},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PackDetInputs"},
]
test_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (736, 512), "keep_ratio": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
train_dataloader = {"dataset": {"pipeline": train_pipeline}}
val_dataloader = test_dataloader = {"dataset": {"pipeline": test_pipeline}}
epochs = 48
train_cfg = {"max_epochs": epochs}
optim_wrapper = {"clip_grad": {"max_norm": 35, "norm_type": 2}}  # as in MMDetection's configuration of FCOS
param_scheduler = [
    {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 500},
    {"type": "CosineAnnealingLR", "T_max": epochs, "by_epoch": True, "end": epochs, "convert_to_iter_based": True},
]
