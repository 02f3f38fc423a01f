"""VOC: trained on trainval of 2007 and 2012, tested on test of 2007; 600 by at most 1000 pixels (section 4.3).

The images lie where `papertrail data` looks for the set `voc0712`. How long the paper trains on VOC it does not say:
the 12 epochs are ours, as many images as MMDetection's own VOC recipes see.
"""

resize = {"type": "Resize", "scale": (1000, 600), "keep_ratio": True}
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
    {"type": "LoadAnnotations", "with_bbox": True},  # after resizing: the metric wants boxes of the stored image
    {"type": "PackDetInputs", "meta_keys": ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")},
]
train_dataloader = {
    "batch_size": 4,
    "num_workers": 4,
    "persistent_workers": True,
    "sampler": {"type": "DefaultSampler", "shuffle": True},
    "batch_sampler": {"type": "AspectRatioBatchSampler"},
    "dataset": {
        "type": "AnnotatedImages",
        "name": "voc0712",
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
        "name": "voc0712",
        "split": "test",
        "test_mode": True,
        "pipeline": test_pipeline,
    },
}
# VOC 2007's rule. MMDetection's metric adds a pixel to every side of boxes that hold it already, so that an overlap of
# nearly 0.5 may fall on the other side; `python -m shared.detection.evaluate` does not.
val_evaluator = test_evaluator = {"type": "VOCMetric", "metric": "mAP", "eval_mode": "11points"}
