"""The detectors of the paper, by their names in its tables; the switch itself stands in switch.py."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from shared.detection import build

NAMES = (
    "fcos", "retinanet", "foveabox", "atss", "gfl", "vfnet", "reppoints", "sparse_rcnn", "faster_rcnn",
    "ghm", "fsaf", "pisa",
)  # fmt: skip


def detector(
    name: str,
    adder: str = "",
    neck: str = "fpn",
    shortcuts: bool = False,
    depth: int = 50,
    width: float = 1.0,
    input_gradient: str = "sign",
    frozen_norm: bool = False,
    checkpoint: str = "",
    channels: int = 256,
    convs: int = 0,
    *,
    classes: int = 80,
) -> nn.Module:
    """A detector, as `papers.adder_detection.switch.AdderDetector` explains it; `convs` 0 and no checkpoint are none.

    Raises:
        PapertrailError: MMDetection is missing.
        ValueError: an unknown switch, neck or gradient.
    """
    build.require()
    import papers.adder_detection.switch  # noqa: F401  (late: classifiers need no MMDetection; registers the switch)

    given = {
        "detector": name, "adder": adder, "neck": neck, "shortcuts": shortcuts, "depth": depth, "width": width,
        "input_gradient": input_gradient, "frozen_norm": frozen_norm, "checkpoint": checkpoint or None,
        "channels": channels, "convs": convs or None, "num_classes": classes,
    }  # fmt: skip
    return build.detector({"type": "AdderDetector", **given}, classes)


MODELS: dict[str, Callable[..., nn.Module]] = {name: functools.partial(detector, name) for name in NAMES}
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {name: ((3, 800, 1344), 80) for name in MODELS}
