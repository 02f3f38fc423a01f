"""What runs cost: the dialogue with what measures it, and what is made of the answers."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from shared.campaign import cost
from shared.campaign.cost import Cost, Costs
from shared.errors import PapertrailError
from shared.training.jobs import Job, jobs_of
from shared.training.protocol import Protocol
from shared.training.resume import keep
from tests.shared.training.test_jobs import CHAIN

LATER = time.monotonic() + 3600

# Answers as pace.py does: arms of 8 steps and 3 epochs; a step takes 0.1 s for one process, and together they make
# `sys.argv[2:]` times as many a second. The second arm cannot be trained, or takes for ever, where the first argument
# says so.
ANSWERS = """
import json, sys, time
how, arms = sys.argv[1], sys.argv[5:]
for number, arm in enumerate(arms):
    if how == "fails" and number:
        sys.exit("no memory")
    if how == "lasts" and number:
        time.sleep(600)
    print(json.dumps({"steps": 8, "epochs": 3}), flush=True)
    while sys.stdin.readline() == "round\\n":
        print(json.dumps({"steps": 10, "seconds": 1.0}), flush=True)
    print(json.dumps({"seconds": 2.0}), flush=True)
"""


@pytest.fixture
def protocol(monkeypatch: pytest.MonkeyPatch) -> Protocol:
    monkeypatch.setattr(cost, "_protocol", lambda *_: CHAIN)
    return CHAIN


def measuring(monkeypatch: pytest.MonkeyPatch, how: str = "works") -> list[list[str]]:
    """Probes that answer at once; and what they are begun for."""
    begun: list[list[str]] = []
    begin = cost.subprocess.Popen

    def popen(words: list[str], **options: object) -> object:
        begun.append(words[6:])
        return begin([sys.executable, "-c", ANSWERS, how, *words[3:]], **options)

    monkeypatch.setattr(cost.subprocess, "Popen", popen)
    return begun


def jobs(*arms: str) -> list[Job]:
    return jobs_of("ghostnet", "tiny", CHAIN, arms)


def test_a_run_is_its_start_its_steps_and_an_evaluation_after_each_epoch_and_in_the_end() -> None:
    one = Cost(plan="", images=100, start=20.0, step=0.1, end=2.0, steps=8, epochs=3)
    assert one.seconds() == pytest.approx(20 + 3 * (0.8 + 2) + 2)
    assert one.seconds(done=2, slower=2.0) == pytest.approx(20 + 2 * ((0.8 + 2) + 2))


def test_what_is_measured_once_is_remembered_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> None:
    begun = measuring(monkeypatch)
    costs = Costs(tmp_path)
    costs.most = 2
    (first, _), (tuned, _) = jobs("ghost"), jobs("tuned")
    guessed = costs.seconds(first)
    assert costs.of(first) is None and guessed == pytest.approx(4000 / cost.GUESS)
    costs.measure("ghostnet", "tiny", [first, tuned], LATER)
    assert begun == [["ghost", "tuned"], ["ghost"]], "two at once are tried, with the first arm of all"
    assert costs.rates == {1: 10.0, 2: 20.0} and costs.count == 2 and costs.slower == 1.0
    found = costs.of(first)
    assert found is not None and (found.step, found.end, found.steps, found.epochs) == (0.1, 2.0, 8, 3)
    assert costs.seconds(first) == pytest.approx(found.start + 3 * 2.8 + 2)

    again = Costs(tmp_path)
    assert again.of(tuned) == costs.of(tuned) and again.count == 2
    again.measure("ghostnet", "tiny", [*jobs("again"), first], LATER)
    assert begun[2:] == [["again"]]

    keep(tmp_path / "papers/ghostnet/runs/tiny/ghost/seeds/0/resume.ckpt", {"epoch": 1})
    assert again.seconds(first) == pytest.approx(found.start + 2.8 + 2), "two epochs of three are there"
    changed = CHAIN.model_copy(update={"recipe": CHAIN.recipe.model_copy(update={"batch_size": 50})})
    monkeypatch.setattr(cost, "_protocol", lambda *_: changed)
    assert again.of(first) is None
    monkeypatch.setattr(cost, "device_name", lambda device: "another machine")
    assert Costs(tmp_path).arms == {}


def test_more_at_once_are_taken_where_they_make_a_tenth_more(tmp_path: Path) -> None:
    costs = Costs(tmp_path)
    for rates, count, slower in (
        ({1: 10.0, 2: 18.0, 4: 30.0}, 4, 4 / 3),
        ({1: 10.0, 2: 18.0, 4: 19.0}, 2, 2 / 1.8),
        ({1: 10.0, 2: 10.5}, 1, 1.0),
        ({}, 1, 1.0),
    ):
        costs.rates = rates
        assert (costs.count, costs.slower) == (count, pytest.approx(slower))


def test_pruning_costs_a_start_and_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring(monkeypatch)
    arms = CHAIN.arms | {"pruned": type(CHAIN.arms["ghost"]).model_validate(
        {"of": "ghost", "prune": {"by": "scale", "ratio": 0.5}})}  # fmt: skip
    protocol = CHAIN.model_copy(update={"arms": arms})
    monkeypatch.setattr(cost, "_protocol", lambda *_: protocol)
    costs = Costs(tmp_path)
    pruned = jobs_of("ghostnet", "tiny", protocol, ["pruned"])[0]
    assert costs.seconds(pruned) == 0.0
    costs.measure("ghostnet", "tiny", [pruned], LATER)
    (known,) = costs.arms.values()
    assert [*costs.arms] == ["ghostnet/tiny/ghost"] and costs.seconds(pruned) == pytest.approx(known.start + 2.0)


def test_what_cannot_be_trained_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Protocol) -> None:
    measuring(monkeypatch, "fails")
    costs = Costs(tmp_path)
    costs.most = 1
    with pytest.raises(PapertrailError, match=r"papers/ghostnet tiny: how fast it trains could not be measured"):
        costs.measure("ghostnet", "tiny", [*jobs("ghost"), *jobs("again")], LATER)


def test_measuring_ends_when_the_time_is_up_and_keeps_what_it_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: Protocol
) -> None:
    measuring(monkeypatch, "lasts")
    costs = Costs(tmp_path)
    costs.most = 1
    began = time.monotonic()
    with pytest.raises(PapertrailError, match="could not be measured"):
        costs.measure("ghostnet", "tiny", [*jobs("ghost"), *jobs("again")], began + 5)
    assert 5 <= time.monotonic() - began < 60
    assert [*Costs(tmp_path).arms] == ["ghostnet/tiny/ghost"]
