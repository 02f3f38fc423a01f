"""The command line of a run: which arm of which protocol of which paper."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from shared.errors import exit_status
from shared.files import slug_of


def arm_parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """Reads `python -m <module> papers/<slug> PROTOCOL ARM`; `paper` is the slug."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    parser.add_argument("paper", type=slug_of, help="papers/<slug>")
    parser.add_argument("protocol", help="a protocol of the paper's params.yaml")
    parser.add_argument("arm", help="an arm of that protocol")
    return parser


def train(module: str, doc: str | None, work: Callable[[argparse.Namespace], None]) -> int:
    """Read the command line of a training run and do the work; returns the exit status.

    `work` gets `paper`, `protocol`, `arm`, `seed` (or None) and `fast`, and imports what is heavy by itself: threads
    are told how to wait before PyTorch starts them.
    """
    parser = arm_parser(module, doc)
    parser.add_argument("--seed", type=int, help="train this seed alone and write no summary")
    parser.add_argument("--fast", action="store_true", help="two steps on stand-in data; writes nothing")
    given = parser.parse_args()
    # Threads that wait by spinning bring two runs on one machine to a standstill; results are the same to the bit.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return exit_status(lambda: work(given))
