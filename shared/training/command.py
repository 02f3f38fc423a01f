"""The commands of an arm, as `python -m shared.training` and `papertrail` give them."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from shared.errors import UsageError

if TYPE_CHECKING:
    from shared.training.arms import Summary
    from shared.training.jobs import Job
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
    _checked(action, paper, protocol, arm, seed)
    from shared.training import arms  # late: it brings Lightning, and a misspelt name is told before

    quiet()
    if action == "evaluate":
        return arms.evaluate_arm(paper, protocol, arm, seed=seed, runs=runs)
    if fast:
        arms.fast_check(paper, protocol, arm)
    else:
        arms.train_arm(paper, protocol, arm, seed=seed, runs=runs)
    return {}


def perform_together(
    action: Action | None,
    paper: str,
    protocol: str,
    arms: Sequence[str],
    count: int,
    *,
    seed: int | None = None,
    runs: Path | None = None,
) -> dict[Job, str]:
    """Make arms, `count` seeds of them at once (see `shared.training.jobs.side_by_side`).

    Args:
        action: "train" or "prune"; None does with each arm what it asks for.
        paper: the slug.
        protocol: its name.
        arms: their names; each after the one that it continues.
        count: of processes at once.
        seed: this one alone, without a summary.
        runs: where runs are kept; papers/<slug>/runs when not given.

    Returns:
        The jobs that are not done, and why. Of an arm with none of them the curves are written.

    Raises:
        UsageError: as `perform`; also when a run takes several processes by itself.
    """
    for arm in arms:
        stated = _checked(action, paper, protocol, arm, seed)
    from shared.training.arms import conclude
    from shared.training.jobs import jobs_of, side_by_side
    from shared.training.run import runs_of

    if stated.trainer.devices * stated.trainer.nodes > 1:
        raise UsageError("--jobs: one run of this protocol takes several processes (`trainer`); leave --jobs out")
    folder = runs or runs_of(paper)
    undone = side_by_side(jobs_of(paper, protocol, stated, arms, seed), count, lambda _: folder)
    for arm in arms if seed is None else ():
        if all(job.arm != arm for job in undone):
            conclude(folder / protocol / arm, stated.seeds)
    return undone


def _checked(action: Action | None, paper: str, protocol: str, arm: str, seed: int | None) -> Protocol:
    """The protocol, if all of this can be."""
    from shared.training.protocol import SEEDS, protocol_with

    if seed is not None and not 0 <= seed < SEEDS:
        raise UsageError(f"--seed {seed}: seeds go from 0 to {SEEDS - 1}")
    stated = protocol_with(paper, protocol, arm)
    wanted = stated.action(arm)
    if action not in (None, "evaluate", wanted):
        raise UsageError(f"`{arm}` is not for `{action}`: papertrail {wanted} {paper} {protocol} {arm}")
    return stated


def quiet() -> None:
    """Silence Lightning's hints: workers for data already in memory, products to install. They bury a run's line."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
