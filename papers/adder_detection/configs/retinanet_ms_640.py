"""RetinaNet-MS-640: crops of 640x640 on COCO, 50 epochs (table 5); the switch stands in _base_/switch.py.

Scales and crops are those that NAS-FPN trains RetinaNet with, as MMDetection has them.
"""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/coco.py", "_base_/schedule.py"]

model = {"detector": "retinanet"}
train_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations", "with_bbox": True},
    {"type": "RandomResize", "scale": (640, 640), "ratio_range": (0.8, 1.2), "keep_ratio": True},
    {"type": "RandomCrop", "crop_size": (640, 640)},
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PackDetInputs"},
]
test_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (640, 640), "keep_ratio": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
train_dataloader = {"dataset": {"pipeline": train_pipeline}}
val_dataloader = test_dataloader = {"dataset": {"pipeline": test_pipeline}}
epochs = 50
train_cfg = {"max_epochs": epochs}
param_scheduler = [
    {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 500},
    {"type": "CosineAnnealingLR", "T_max": epochs, "by_epoch": True, "end": epochs, "convert_to_iter_based": True},
]
