"""In which order claims are decided: by how many of them a minute of runs decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from shared.campaign.waiting import Waiting
from shared.training.jobs import Job

NOTHING = 1e-9  # seconds of what is there already


@dataclass(frozen=True)
class Step:
    """A claim in its turn.

    Attributes:
        claim: what is decided.
        jobs: those that no claim before it asks for.
        seconds: of them all, one after the other.
        worth: claims that are decided for each second of them.
    """

    claim: Waiting
    jobs: tuple[Job, ...]
    seconds: float
    worth: float


def in_order(claims: Iterable[Waiting], seconds: Callable[[Job], float]) -> list[Step]:
    """Greedily: next comes the claim whose jobs decide most for their time, itself and all that wait for no others.

    Jobs that several claims wait for are made, and counted, once.
    """
    groups: dict[tuple[str, str], list[Waiting]] = {}
    for claim in claims:
        groups.setdefault((claim.paper, claim.protocol), []).append(claim)
    times = {job: seconds(job) for group in groups.values() for claim in group for job in claim.missing}
    queues = [deque(_within(group, times)) for group in groups.values()]  # no job is of two protocols
    steps = []
    while queues:
        best = max(queues, key=lambda queue: queue[0].worth)
        steps.append(best.popleft())
        queues = [queue for queue in queues if queue]
    return steps


def _within(claims: Iterable[Waiting], times: Mapping[Job, float]) -> Iterator[Step]:
    """The claims of one protocol in their order; of those that wait for the same jobs the first has them all."""
    left: dict[frozenset[Job], list[Waiting]] = {}
    for claim in claims:
        left.setdefault(frozenset(claim.missing), []).append(claim)
    while left:
        costs = {jobs: max(NOTHING, sum(times[job] for job in jobs)) for jobs in left}
        worths = {jobs: sum(len(left[other]) for other in left if other <= jobs) / costs[jobs] for jobs in left}
        best = max(worths, key=worths.__getitem__)
        for number, claim in enumerate(left.pop(best)):
            jobs = tuple(job for job in claim.missing if job in best) if number == 0 else ()
            yield Step(claim, jobs, sum(times[job] for job in jobs), worths[best])
        rest: dict[frozenset[Job], list[Waiting]] = {}
        for jobs_left, waiting in left.items():
            rest.setdefault(jobs_left - best, []).extend(waiting)
        left = rest
