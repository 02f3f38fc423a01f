"""FoveaBox on VOC (table 6); the switch stands in _base_/switch.py."""

_base_ = ["_base_/runtime.py", "_base_/switch.py", "_base_/voc.py", "_base_/schedule.py"]

model = {"detector": "foveabox", "classes": 20}
