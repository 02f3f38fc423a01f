"""FCOS on COCO (tables 1, 2, 4 and 5); the switch stands in _base_/switch.py."""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/coco.py", "_base_/schedule.py"]

model = {"detector": "fcos"}
optim_wrapper = {"clip_grad": {"max_norm": 35, "norm_type": 2}}  # as in MMDetection's configuration of FCOS
