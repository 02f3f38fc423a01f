"""Detectors from MMDetection's model dictionaries, with our own modules in its registry."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.detection.network import DetectorNetwork
from shared.errors import NotInstalled

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
    """Import MMDetection; NotInstalled says how to get what is missing."""
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):  # of their own state
            import mmcv.ops  # noqa: F401
            import mmdet.datasets
            import mmdet.models  # noqa: F401
    except ImportError as error:
        raise NotInstalled(f"detectors need MMDetection and mmcv's operators ({error}); {REMEDY}") from error
    from mmengine.registry import init_default_scope

    init_default_scope("mmdet")
    logging.getLogger("mmengine").setLevel(logging.ERROR)


def detector(config: dict[str, Any], classes: int) -> DetectorNetwork:
    """The detector that a model dictionary of MMDetection describes, as a plain network.

    Args:
        config: `model` of an MMDetection configuration; it is left as it was.
        classes: number of classes; put wherever the dictionary says `num_classes`, but for a proposal network's one.

    Raises:
        NotInstalled: MMDetection, or mmcv's operators, are missing.
    """
    require()
    from mmdet.registry import MODELS
    from mmengine.config import ConfigDict

    import shared.detection.backbone  # noqa: F401  (registers itself)

    complete = _with_classes(copy.deepcopy(config), classes)
    return DetectorNetwork(MODELS.build(ConfigDict(copy.deepcopy(complete))), complete)


def base_model(name: str) -> dict[str, Any]:
    """The model dictionary of one of MMDetection's own configurations, such as "_base_/models/retinanet_r50_fpn"."""
    require()
    import mmdet
    from mmengine.config import Config

    file = Path(mmdet.__file__).parent / ".mim" / "configs" / f"{name}.py"
    return Config.fromfile(file).model.to_dict()


def on_backbone(
    config: dict[str, Any], paper: str, model: str, args: dict[str, Any], taps: Sequence[str], **options: Any
) -> dict[str, Any]:
    """The model dictionary with one of our networks for a backbone, and a neck that fits it.

    Where it does not say how pixels are normalised, they are as our classifiers want them.

    Args:
        config: a model dictionary with a neck.
        paper: the slug of the paper whose network it is.
        model: a builder of its MODELS.
        args: the builder's arguments.
        taps: names of the network's features.
        options: further arguments of TapsBackbone.
    """
    require()
    from shared.detection.backbone import out_channels

    backbone = {"type": "TapsBackbone", "paper": paper, "model": model, "args": args, "taps": list(taps), **options}
    neck = config["neck"] | {"in_channels": out_channels(paper, model, args, list(taps))}
    return {"data_preprocessor": PREPROCESSOR} | config | {"backbone": backbone, "neck": neck}


def _with_classes(part: Any, classes: int) -> Any:
    """A model dictionary with that number of classes wherever it says `num_classes`; changed in place."""
    if isinstance(part, dict):
        for key, value in part.items():
            part[key] = classes if key == "num_classes" else _with_classes(value, classes)
    elif isinstance(part, list | tuple):
        return type(part)(_with_classes(one, classes) for one in part)
    return part
