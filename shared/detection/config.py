"""`python -m shared.detection.config FILE`: train by an MMDetection configuration file, or prove that it can be.

The full recipes at COCO and VOC scale are such files (papers/<slug>/configs). On several GPUs start it with torchrun.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from shared.detection.build import require
from shared.detection.standin import LONGEST, two_steps
from shared.errors import UsageError, exit_status


def main() -> int:
    """Train or try, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m shared.detection.config", description=__doc__)
    parser.add_argument("file", type=Path, help="papers/<slug>/configs/<name>.py")
    parser.add_argument("--work-dir", type=Path, help="checkpoints and logs; runs/<name> when not given")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in the work folder")
    parser.add_argument("--fast", action="store_true", help="two iterations on stand-in images; writes nothing")
    given = parser.parse_args()
    return exit_status(lambda: _work(given))


def _work(given: argparse.Namespace) -> None:
    if given.fast:
        fast_check(given.file)
    else:
        train(given.file, given.work_dir or Path("runs") / given.file.stem, given.resume)


def load(file: Path) -> Any:
    """The configuration with its imports made; UsageError when there is no such file."""
    require()
    from mmengine.config import Config

    if not file.is_file():
        raise UsageError(f"{file}: no such configuration file")
    return Config.fromfile(file)


def train(file: Path, folder: Path, resume: bool) -> None:
    """Let MMEngine's Runner do what the file says."""
    from mmengine.runner import Runner

    config = load(file)
    config.work_dir = str(folder)
    config.resume = resume
    config.launcher = "pytorch" if "LOCAL_RANK" in os.environ else "none"
    Runner.from_cfg(config).train()


def fast_check(file: Path) -> None:
    """Two iterations of the file's detector and optimiser on stand-in images.

    PapertrailError when a loss is not finite.
    """
    config = load(file)
    from mmdet.registry import MODELS
    from mmengine.optim import build_optim_wrapper

    import shared.detection.backbone  # noqa: F401
    from shared.layers.adaptive import adaptive_gradients

    detector: Any = MODELS.build(config.model)
    logging.disable(logging.WARNING)  # MMEngine names every layer
    try:
        detector.init_weights()
    finally:
        logging.disable(logging.NOTSET)
    wrapper = build_optim_wrapper(detector, config.optim_wrapper)
    adaptive_gradients(wrapper.optimizer, detector)
    head = getattr(detector, "bbox_head", None) or detector.roi_head.bbox_head
    classes = head[0].num_classes if hasattr(head, "__getitem__") else head.num_classes
    two_steps(detector, wrapper.optimizer, classes, (LONGEST, LONGEST), str(file))


if __name__ == "__main__":
    sys.exit(main())
