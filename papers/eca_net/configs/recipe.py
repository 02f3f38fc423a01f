"""How the detectors of tables 5 and 6 are trained: COCO train2017, 12 epochs, 8 images a step (section 4.3).

Four processes with two images each: `torchrun --nproc_per_node=4 -m shared.detection.config FILE`. What the paper does
not say (the warm-up, the flips, the longer side of 1333 pixels) is MMDetection's one-fold schedule.
"""

import os

default_scope = "mmdet"
data_root = os.path.join(os.environ.get("PAPERTRAIL_DATA", "data"), "coco/")

resize = {"type": "Resize", "scale": (1333, 800), "keep_ratio": True}
train_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "LoadAnnotations", "with_bbox": True},
    resize,
    {"type": "RandomFlip", "prob": 0.5},
    {"type": "PackDetInputs"},
]
test_pipeline = [
    {"type": "LoadImageFromFile"},
    resize,
    {"type": "LoadAnnotations", "with_bbox": True},
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
train_dataloader = {
    "batch_size": 2,
    "num_workers": 2,
    "persistent_workers": True,
    "sampler": {"type": "DefaultSampler", "shuffle": True},
    "batch_sampler": {"type": "AspectRatioBatchSampler"},
    "dataset": {
        "type": "CocoDataset",
        "data_root": data_root,
        "ann_file": "annotations/instances_train2017.json",
        "data_prefix": {"img": "train2017/"},
        "filter_cfg": {"filter_empty_gt": True, "min_size": 32},
        "pipeline": train_pipeline,
    },
}
val_dataloader = test_dataloader = {
    "batch_size": 1,
    "num_workers": 2,
    "persistent_workers": True,
    "sampler": {"type": "DefaultSampler", "shuffle": False},
    "dataset": {
        "type": "CocoDataset",
        "data_root": data_root,
        "ann_file": "annotations/instances_val2017.json",
        "data_prefix": {"img": "val2017/"},
        "test_mode": True,
        "pipeline": test_pipeline,
    },
}
val_evaluator = test_evaluator = {
    "type": "CocoMetric",
    "ann_file": os.path.join(data_root, "annotations/instances_val2017.json"),
    "metric": ["bbox"],
}

train_cfg = {"type": "EpochBasedTrainLoop", "max_epochs": 12, "val_interval": 1}
val_cfg = {"type": "ValLoop"}
test_cfg = {"type": "TestLoop"}
optim_wrapper = {
    "type": "OptimWrapper",
    "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
}
param_scheduler = [
    {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "begin": 0, "end": 500},
    {"type": "MultiStepLR", "begin": 0, "end": 12, "by_epoch": True, "milestones": [8, 11], "gamma": 0.1},
]
default_hooks = {
    "checkpoint": {"type": "CheckpointHook", "interval": 1},
    "logger": {"type": "LoggerHook", "interval": 50},
}
