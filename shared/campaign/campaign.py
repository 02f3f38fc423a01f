"""A campaign from its beginning to its end: look, time, choose and run, until the time is up; then say what is next."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.campaign.choose import Step, in_order
from shared.campaign.cost import Costs
from shared.campaign.waiting import LeftOut, Waiting, look
from shared.checkpoints.gathered import CAMPAIGN, runs_in
from shared.errors import PapertrailError
from shared.files import write_json
from shared.training.jobs import Job, side_by_side
from shared.training.resume import FILE
from shared.weights.load import run_folder

ENDING = 20.0  # seconds that are left for ending processes and for the last look


@dataclass(frozen=True)
class Campaign:
    """How things stand.

    Attributes:
        machine: what computes.
        count: of processes at once.
        ready: claims all of whose runs are there: pinned, they have a verdict.
        steps: the claims that wait, in the order in which they would be decided.
        guessed: steps whose time is guessed from the number of images, since nothing of them was measured yet.
        begun: jobs that were interrupted, and go on from their last epoch.
        left_out: claims that this machine cannot decide, and why.
    """

    machine: str
    count: int
    ready: tuple[Waiting, ...]
    steps: tuple[Step, ...]
    guessed: int
    begun: tuple[Job, ...]
    left_out: tuple[LeftOut, ...]


def campaign(slugs: Sequence[str], out: Path, minutes: float, *, dry_run: bool = False) -> Campaign:
    """Make the runs that claims wait for, those first that decide most for a minute.

    Args:
        slugs: of the papers.
        out: the folder: runs, as the papers' own folders have them, evaluated; and what was measured of this machine.
        minutes: after which everything has ended; what is not finished by then goes on next time.
        dry_run: run nothing but what tells how long runs take.

    Returns:
        How things stand in the end; campaign.json in the folder has it too.
    """
    until = time.monotonic() + 60 * minutes - ENDING
    costs, failed = Costs(out), dict[Job, str]()
    while True:
        every = [one for slug in slugs for one in look(slug, out)]
        claims = [one for one in every if isinstance(one, Waiting)]
        steps = _planned(claims, costs, failed, until)
        jobs = [job for step in steps for job in step.jobs if costs.of(job) is not None]
        if dry_run or not jobs or time.monotonic() >= until:
            break
        undone = _run(jobs, out, costs, until)
        if time.monotonic() < until:  # what is still missing at the next look is not to be tried for ever
            failed |= {job: undone.get(job, "it left no result") for job in jobs}
    found = Campaign(
        machine=costs.machine,
        count=costs.count,
        ready=tuple(claim for claim in claims if not claim.missing),
        steps=tuple(steps),
        guessed=sum(bool(_unknown(step, costs)) for step in steps),
        begun=tuple(job for step in steps for job in step.jobs if _file(out, job).exists()),
        left_out=(*(one for one in every if isinstance(one, LeftOut)), *_lost(claims, failed)),
    )
    write_json(out / CAMPAIGN, dataclasses.asdict(found))
    return found


def _planned(claims: Sequence[Waiting], costs: Costs, failed: dict[Job, str], until: float) -> list[Step]:
    """The claims that wait, in their order, as many of them measured as there is time for.

    The jobs of an arm that cannot be measured come to those that failed.
    """
    while True:
        steps = in_order([one for one in claims if one.missing and not failed.keys() & {*one.missing}], costs.seconds)
        unknown = _near(steps, costs, until)
        if not unknown:
            return steps
        place = unknown[0].paper, unknown[0].protocol
        own = [job for job in unknown if (job.paper, job.protocol) == place]
        try:
            costs.measure(*place, own, until)
        except PapertrailError as error:
            if time.monotonic() >= until:
                return steps
            lost = next(job.arm for job in own if costs.of(job) is None)
            failed |= {job: str(error) for job in own if job.arm == lost}


def _lost(claims: Sequence[Waiting], failed: dict[Job, str]) -> list[LeftOut]:
    """The claims that wait for jobs which failed."""
    why = [(one, next((job for job in one.missing if job in failed), None)) for one in claims]
    counts = Counter((one.paper, one.protocol, f"{job}: {failed[job]}") for one, job in why if job is not None)
    return [LeftOut(slug, name, count, reason) for (slug, name, reason), count in counts.items()]


def _near(steps: Sequence[Step], costs: Costs, until: float) -> list[Job]:
    """The jobs that are not measured, among as many that fit as there is time for; the first ones, where nothing fits
    and nothing is measured that could be begun all the same."""
    left = until - time.monotonic()
    if left <= 0:
        return []
    room, near = left * costs.count, list[Job]()
    for step in steps:
        if all(costs.seconds(job) <= left for job in step.jobs):
            near += _unknown(step, costs)
            room -= step.seconds
        if room <= 0:
            break
    idle = all(costs.of(job) is None for step in steps for job in step.jobs)
    return near or (_unknown(steps[0], costs) if steps and idle else [])


def _unknown(step: Step, costs: Costs) -> list[Job]:
    return [job for job in step.jobs if costs.of(job) is None]


def _run(jobs: Sequence[Job], out: Path, costs: Costs, until: float) -> dict[Job, str]:
    """Do jobs until the time is up; see `side_by_side`."""

    def first(ready: Sequence[Job]) -> Job:
        """The first that there is time for; or the first, which goes on next time from where it gets to."""
        left = until - time.monotonic()
        return next((job for job in ready if costs.seconds(job) <= left), ready[0])

    return side_by_side(jobs, costs.count, lambda slug: runs_in(out, slug), words=made, first=first, until=until)


def made(job: Job, runs: Path) -> list[str]:
    """Arguments of Python that make and measure a job; see shared/campaign/__main__.py."""
    place = [f"papers/{job.paper}", job.protocol, job.arm, "--seed", str(job.seed), "--runs", str(runs.resolve())]
    return ["-m", "shared.campaign", "make", *place]


def _file(out: Path, job: Job) -> Path:
    """What an interrupted run goes on from."""
    return run_folder(job.paper, job.protocol, job.arm, job.seed, runs_in(out, job.paper)) / FILE
