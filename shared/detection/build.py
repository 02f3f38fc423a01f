"""Detectors from MMDetection's model dictionaries, with our own modules in its registry."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from typing import Any

from shared.detection.network import DetectorNetwork
from shared.errors import PapertrailError

# Pixels of 0..255 to what the classification networks were trained on; batches padded to what a stride of 32 divides.
PREPROCESSOR = {
    "type": "DetDataPreprocessor",
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "bgr_to_rgb": True,
    "pad_size_divisor": 32,
}
REMEDY = "`make detection` installs it (see `papertrail doctor`)"


def require() -> None:
    """Import MMDetection; PapertrailError says how to get what is missing."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # mmcv's deprecation notes
            import mmcv.ops  # noqa: F401
            import mmdet.models  # noqa: F401
    except ImportError as error:
        raise PapertrailError(f"detectors need MMDetection and mmcv's operators ({error}); {REMEDY}") from error
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    logging.getLogger("mmengine").setLevel(logging.ERROR)


def detector(config: dict[str, Any], classes: int) -> DetectorNetwork:
    """The detector that a model dictionary of MMDetection describes.

    Args:
        config: `model` of an MMDetection configuration; it is left as it was.
        classes: number of classes; put wherever the dictionary says `num_classes`, but for a proposal network's one.

    Raises:
        PapertrailError: MMDetection, or mmcv's operators, are missing.
    """
    require()
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    import shared.detection.backbone  # noqa: F401  (registers itself)

    complete = {"data_preprocessor": PREPROCESSOR} | copy.deepcopy(config)
    return DetectorNetwork(MODELS.build(ConfigDict(_with_classes(complete, classes))))


def _with_classes(part: Any, classes: int) -> Any:
    if isinstance(part, dict):
        for key, value in part.items():
            part[key] = classes if key == "num_classes" else _with_classes(value, classes)
    elif isinstance(part, list | tuple):
        return type(part)(_with_classes(one, classes) for one in part)
    return part
