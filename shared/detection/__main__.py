"""`python -m shared.detection papers/<slug> PROTOCOL ARM`: train one arm of a protocol for detectors."""

from __future__ import annotations

import argparse
import os
import sys

from shared.errors import PapertrailError, UsageError


def main() -> int:
    """Train, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m shared.detection", description=__doc__)
    parser.add_argument("paper", help="papers/<slug>")
    parser.add_argument("protocol", help="a protocol of the paper's params.yaml whose recipe is for detection")
    parser.add_argument("arm", help="an arm of that protocol")
    parser.add_argument("--seed", type=int, help="train this seed alone and write no summary")
    parser.add_argument("--fast", action="store_true", help="two steps on stand-in images; writes nothing")
    given = parser.parse_args()
    # Threads that wait by spinning bring two runs on one machine to a standstill; results are the same to the bit.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    paper = given.paper.removeprefix("papers/").rstrip("/")

    from shared.detection import fit, standin
    from shared.training import run

    try:
        if given.fast:
            standin.fast_check(paper, given.protocol, given.arm)
        else:
            run.train_arm(paper, given.protocol, given.arm, seed=given.seed, kind=fit.DetectionRun)
    except PapertrailError as error:
        print(f"papertrail: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
