"""COCO train2017 and val2017, 800 by at most 1333 pixels, mirrored half of the time and nothing else (section 4.1).

Images and annotations lie in the folder coco under PAPERTRAIL_DATA. Four images on each of eight GPUs:
`torchrun --nproc_per_node=8 -m shared.detection.config FILE`.
"""

import os

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
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
train_dataloader = {
    "batch_size": 4,  # with fewer the statistics of the normalisation are too poor (table 3)
    "num_workers": 4,
    "persistent_workers": True,
    "sampler": {"type": "DefaultSampler", "shuffle": True},
    "batch_sampler": {"type": "AspectRatioBatchSampler"},
    "dataset": {
        "type": "AnnotatedImages",
        "name": "coco",
        "split": "train",
        "filter_cfg": {"filter_empty_gt": True},
        "pipeline": train_pipeline,
    },
}
val_dataloader = test_dataloader = {
    "batch_size": 1,
    "num_workers": 4,
    "persistent_workers": True,
    "sampler": {"type": "DefaultSampler", "shuffle": False},
    "dataset": {
        "type": "AnnotatedImages",
        "name": "coco",
        "split": "test",
        "test_mode": True,
        "pipeline": test_pipeline,
    },
}
val_evaluator = test_evaluator = {
    "type": "CocoMetric",
    "ann_file": os.path.join(os.environ.get("PAPERTRAIL_DATA", "data"), "coco/annotations/instances_val2017.json"),
    "metric": "bbox",
}
