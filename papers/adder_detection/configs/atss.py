"""ATSS on COCO (table 3); the switch stands in _base_/switch.py."""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/coco.py", "_base_/schedule.py"]

model = {"detector": "atss"}
