"""Sparse R-CNN on COCO (tables 3 and 5); the switch stands in _base_/switch.py.

The paper names SGD for its detectors, so SGD stands here. MMDetection trains Sparse R-CNN with AdamW at 0.000025 and
reports the very AP of the paper's row with convolutions, 37.9: that row may not have been trained by the paper's
recipe. Adam would undo the adaptive learning rate of adder layers.
"""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/coco.py", "_base_/schedule.py"]

model = {"detector": "sparse_rcnn"}
optim_wrapper = {"clip_grad": {"max_norm": 1, "norm_type": 2}}  # as in MMDetection's configuration of Sparse R-CNN
