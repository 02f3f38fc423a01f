"""`python -m shared.compression papers/<slug> PROTOCOL ARM`: prune, tune or train anew what another arm left."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings

from shared.training.command import train


def main() -> int:
    """Run, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    return train("shared.compression", __doc__, _work)


def _work(given: argparse.Namespace) -> None:
    from shared.compression import continued
    from shared.training.run import train_arm

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    if given.fast:
        continued.fast_check(given.paper, given.protocol, given.arm)
    else:
        train_arm(given.paper, given.protocol, given.arm, seed=given.seed, kind=continued.continued)


if __name__ == "__main__":
    sys.exit(main())
