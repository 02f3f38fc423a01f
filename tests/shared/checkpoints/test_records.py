"""What a record began with is what is published, or what its parent ended with."""

from __future__ import annotations

import pytest

from shared.checkpoints.records import broken
from shared.training.protocol import Protocol
from shared.weights.given import given
from shared.weights.records import ArmRecord, Records, SeedRecord, Start

PLAN = {
    "what": "a published network, pruned and tuned",
    "data": "cifar10",
    "recipe": {"epochs": 1, "batch_size": 100, "optimiser": {"name": "sgd", "lr": 0.1}},
    "arms": {
        "tuned": {"builder": "resnet20", "begin": "rethinking_pruning/resnet20"},
        "scratch": {"builder": "resnet20"},
        "less": {"of": "tuned", "prune": {"by": "l1", "ratio": 0.5}},
    },
}
PROTOCOL = Protocol.model_validate(PLAN, context={"paper": "rethinking_pruning"})
THEIRS = given("rethinking_pruning/resnet20").sha256
OURS, OTHER = "1" * 64, "2" * 64


def run(sha256: str, start: Start | None) -> SeedRecord:
    return SeedRecord.model_validate(
        {
            "metrics": {"top1": 90.0}, "args": {}, "params": 1, "macs": 1, "epochs": 1, "start": start,
            "sha256": sha256, "code": "0" * 40, "sources_digest": OTHER, "environment": OTHER, "torch": "2.13.0",
            "device": "cpu", "seconds": 1.0, "pinned": "2026-11-28", "curves": {},
        }
    )  # fmt: skip


def records(tuned: Start | None, less: Start) -> Records:
    runs = {"tuned": run(OURS, tuned), "scratch": run(OURS, None), "less": run(OTHER, less)}
    arms = {arm: ArmRecord(plan={}, seeds={"0": one}) for arm, one in runs.items()}
    return Records(paper="rethinking_pruning", protocol="tiny", arms=arms)


BEGUN = Start(arm="rethinking_pruning/resnet20", sha256=THEIRS)


def test_a_chain_that_begins_with_a_published_network_holds() -> None:
    found = records(BEGUN, Start(arm="tuned", sha256=OURS))
    assert all(broken(found, PROTOCOL, arm, 0) is None for arm in PROTOCOL.arms)


@pytest.mark.parametrize(
    ("tuned", "named"),
    [
        (None, "goes on from None, params.yaml states rethinking_pruning/resnet20"),
        (Start(arm="rethinking_pruning/resnet32", sha256=THEIRS), "goes on from rethinking_pruning/resnet32"),
        (
            Start(arm="rethinking_pruning/resnet20", sha256=OTHER),
            "began with another file than is published as rethinking_pruning/resnet20",
        ),
    ],
)
def test_another_beginning_breaks_it_and_what_goes_on_from_it(tuned: Start | None, named: str) -> None:
    found = records(tuned, Start(arm="tuned", sha256=OURS))
    for arm in ("tuned", "less"):
        assert named in str(broken(found, PROTOCOL, arm, 0))


def test_other_weights_of_the_parent_break_the_chain() -> None:
    found = records(BEGUN, Start(arm="tuned", sha256=OTHER))
    assert broken(found, PROTOCOL, "tuned", 0) is None
    assert "goes on from other weights of `tuned`" in str(broken(found, PROTOCOL, "less", 0))
