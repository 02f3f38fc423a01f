"""`python -m shared.training papers/<slug> PROTOCOL ARM`: train one arm of a paper's protocol."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings

from shared.training.command import train


def main() -> int:
    """Train, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    return train("shared.training", __doc__, _work)


def _work(given: argparse.Namespace) -> None:
    from shared.training import run

    # Lightning's hints (workers for data already in memory, products to install) would bury the one line of a run.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    if given.fast:
        run.fast_check(given.paper, given.protocol, given.arm)
    else:
        run.train_arm(given.paper, given.protocol, given.arm, seed=given.seed)


if __name__ == "__main__":
    sys.exit(main())
