"""In which order claims are decided."""

from __future__ import annotations

from shared.campaign.choose import in_order
from shared.campaign.waiting import Waiting
from shared.training.jobs import Job


def job(arm: str, protocol: str = "gpu", seed: int = 0, continues: str | None = None) -> Job:
    return Job("ghostnet", protocol, arm, seed, "train", continues)


def waiting(claim: str, *jobs: Job) -> Waiting:
    return Waiting("ghostnet", claim, jobs[0].protocol, jobs)


TIMES = {"plain": 60.0, "ghost": 50.0, "narrow": 30.0, "slow": 600.0, "cheap": 20.0}


def seconds(one: Job) -> float:
    return TIMES[one.arm]


def test_what_decides_most_for_a_minute_comes_first_and_what_is_shared_counts_once() -> None:
    plain, ghost, narrow, slow = map(job, ("plain", "ghost", "narrow", "slow"))
    cheap = job("cheap", "cifar")
    steps = in_order(
        [
            waiting("slow-over-plain", slow, plain),
            waiting("ghost-not-worse", ghost, plain),
            waiting("ghost-over-plain", plain, ghost),  # the same runs: 110 s decide two
            waiting("ghost-over-narrow", ghost, narrow),  # 80 s decide one, 30 s when ghost is there
            waiting("cheap", cheap),
        ],
        seconds,
    )
    assert [(step.claim.claim, [one.arm for one in step.jobs], step.seconds) for step in steps] == [
        ("cheap", ["cheap"], 20.0),
        ("ghost-not-worse", ["ghost", "plain"], 110.0),
        ("ghost-over-plain", [], 0.0),
        ("ghost-over-narrow", ["narrow"], 30.0),
        ("slow-over-plain", ["slow"], 600.0),
    ]


def test_jobs_keep_the_order_in_which_one_continues_another() -> None:
    chain = [
        job("plain"),
        job("ghost", continues="plain"),
        job("plain", seed=1),
        job("ghost", seed=1, continues="plain"),
    ]
    (step,) = in_order([waiting("tuned", *chain)], seconds)
    assert list(step.jobs) == chain and step.seconds == 220.0


def test_nothing_waits() -> None:
    assert in_order([], seconds) == []
