"""What a campaign starts: `python -m shared.campaign make` does a job and measures it, `pace` times arms (pace.py)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from shared.errors import exit_status
from shared.files import slug_of
from shared.training.command import perform


def main() -> int:
    """Do it, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m shared.campaign", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    pace, make = (actions.add_parser(name) for name in ("pace", "make"))
    for one in (pace, make):
        one.add_argument("paper", type=slug_of)
        one.add_argument("protocol")
    pace.add_argument("arms", nargs="+")
    make.add_argument("arm")
    make.add_argument("--seed", type=int, required=True)
    make.add_argument("--runs", type=Path, required=True)
    given = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch is imported; see shared/training/command.py
    if given.action == "pace":
        return exit_status(lambda: _pace(given.paper, given.protocol, given.arms))
    return exit_status(lambda: _make(given.paper, given.protocol, given.arm, given.seed, given.runs))


def _pace(slug: str, name: str, arms: list[str]) -> None:
    from shared.campaign.pace import answer

    answer(slug, name, arms)


def _make(slug: str, name: str, arm: str, seed: int, runs: Path) -> None:
    """In one process: to start one takes as long as to measure a network."""
    from shared.training.protocol import protocol_with

    for action in (protocol_with(slug, name, arm).action(arm), "evaluate"):
        perform(action, slug, name, arm, seed=seed, runs=runs)


if __name__ == "__main__":
    sys.exit(main())
