"""Sparse R-CNN on COCO (tables 3 and 5); the switch stands in _base_/switch.py.

The paper names SGD for its detectors. Sparse R-CNN is trained with AdamW by its authors and by MMDetection, and with SGD
at 0.02 its loss is not finite here after the first step; so AdamW stands here. It undoes the adaptive learning rate of
adder layers, whose gradients it brings to a common length of its own.
"""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/coco.py", "_base_/schedule.py"]

model = {"detector": "sparse_rcnn"}
optim_wrapper = {
    # MMDetection's 0.000025 for 16 images a step, in proportion to 32.
    "optimizer": {"_delete_": True, "type": "AdamW", "lr": 5e-5, "weight_decay": 1e-4},
    "clip_grad": {"max_norm": 1, "norm_type": 2},
}
