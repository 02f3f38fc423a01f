"""Faster R-CNN on COCO (table 5, convolutions alone); the switch stands in _base_/switch.py."""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/coco.py", "_base_/schedule.py"]

model = {"detector": "faster_rcnn"}
