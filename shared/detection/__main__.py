"""`python -m shared.detection papers/<slug> PROTOCOL ARM`: train one arm of a protocol for detectors."""

from __future__ import annotations

import argparse
import sys

from shared.training.command import train


def main() -> int:
    """Train, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    return train("shared.detection", __doc__, _work)


def _work(given: argparse.Namespace) -> None:
    from shared.detection import fit, standin
    from shared.training import run

    if given.fast:
        standin.fast_check(given.paper, given.protocol, given.arm)
    else:
        run.train_arm(given.paper, given.protocol, given.arm, seed=given.seed, kind=fit.DetectionRun)


if __name__ == "__main__":
    sys.exit(main())
