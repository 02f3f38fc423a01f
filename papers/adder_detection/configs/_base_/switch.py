"""The switch between convolutions and adder layers, set from outside, so that no two files differ in it alone.

ADDER is "" (convolutions), B, B+N or B+N+H; NECK is fpn, pafpn or r-pafpn; SHORTCUTS is 0 or 1; DEPTH is that of the
backbone; CHECKPOINT is "<slug>/<name>" of a pinned backbone of that kind. Tables 1 to 6 of the paper are all there:
`ADDER=B+N NECK=r-pafpn SHORTCUTS=1 python -m shared.detection.config papers/adder_detection/configs/fcos.py`.
"""

import os

model = {
    "type": "AdderDetector",
    "adder": os.environ.get("ADDER", ""),
    "neck": os.environ.get("NECK", "fpn"),
    "shortcuts": os.environ.get("SHORTCUTS", "0") == "1",
    "depth": int(os.environ.get("DEPTH", "50")),
    "checkpoint": os.environ.get("CHECKPOINT"),
}
