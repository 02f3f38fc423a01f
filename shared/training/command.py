"""The commands of an arm, as `python -m shared.training` and `papertrail` give them."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shared.errors import UsageError

if TYPE_CHECKING:
    from shared.training.arms import Summary
    from shared.training.protocol import Protocol

Action = Literal["train", "prune", "evaluate"]


def perform(
    action: Action,
    paper: str,
    protocol: str,
    arm: str,
    *,
    seed: int | None = None,
    fast: bool = False,
    runs: Path | None = None,
) -> Summary:
    """Train, prune or evaluate an arm of papers/<paper>/params.yaml.

    Args:
        action: "train" is for arms that are trained, "prune" for those that take something out of another's network.
        paper: the slug.
        protocol: its name.
        arm: its name.
        seed: this one alone, without a summary.
        fast: try the recipe for two steps on stand-in data instead, and write nothing.
        runs: where runs are kept; papers/<slug>/runs when not given.

    Returns:
        What evaluating found (see `shared.training.arms.evaluate_arm`); nothing of what trains or prunes.

    Raises:
        UsageError: there is no such protocol, arm or seed, or the arm is made by the other command.
        PapertrailError: see `shared.training.arms`.
    """
    # Threads that wait by spinning bring two runs on one machine to a standstill; results are the same to the bit.
    # PyTorch reads it when it is imported: what brings PyTorch comes after it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    checked(action, paper, protocol, arm, seed)
    from shared.training import arms  # late: it brings Lightning, and a misspelt name is told before

    quiet()
    if action == "evaluate":
        return arms.evaluate_arm(paper, protocol, arm, seed=seed, runs=runs)
    if fast:
        arms.fast_check(paper, protocol, arm)
    else:
        arms.train_arm(paper, protocol, arm, seed=seed, runs=runs)
    return {}


def checked(action: Action, paper: str, protocol: str, arm: str, seed: int | None) -> Protocol:
    """The protocol; UsageError as of `perform`, and before anything that trains is imported."""
    from shared.training.protocol import SEEDS, protocol_with

    if seed is not None and not 0 <= seed < SEEDS:
        raise UsageError(f"--seed {seed}: seeds go from 0 to {SEEDS - 1}")
    stated = protocol_with(paper, protocol, arm)
    wanted = stated.action(arm)
    if action not in ("evaluate", wanted):
        raise UsageError(f"`{arm}` is not for `{action}`: papertrail {wanted} {paper} {protocol} {arm}")
    return stated


def quiet() -> None:
    """Silence Lightning's hints: workers for data already in memory, products to install. They bury a run's line."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
