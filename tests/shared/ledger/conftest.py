from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.ledger import Entry, runs
from shared.ledger.claims import Claim
from shared.ledger.evidence import ArmResult
from shared.ledger.judge import judge_claim
from shared.schema import validated
from shared.training.protocol import Protocol

ARMS = {
    "plain": {"builder": "vgg16"},
    "ghost": {"builder": "ghost_vgg16", "args": {"s": 2}},
    "cut": {"of": "plain", "prune": {"by": "scale", "ratio": 0.5}},
    "tuned": {"of": "cut"},
}
PROTOCOL = {
    "what": "a test",
    "data": "mnist5k",
    "repeats": 3,
    "arms": ARMS,
    "recipe": {"epochs": 1, "batch_size": 8, "optimiser": {"name": "sgd", "lr": 0.1}},
}


def claim_of(check: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A claim as it is judged."""
    base = {"id": "t1.a", "where": "Table 1", "row": "A", "quantity": "params", "says": "15M", "confidence": "read"}
    return {**base, "check": check, **changes}


@pytest.fixture
def protocols() -> dict[str, Protocol]:
    return {
        "mini": validated(Protocol, PROTOCOL, "mini"),
        "small": validated(Protocol, PROTOCOL, "small"),
        "full": validated(Protocol, {**PROTOCOL, "data": "cifar10", "needs": "one GPU, about 40 hours"}, "full"),
    }


@pytest.fixture
def verdict(protocols: dict[str, Protocol]) -> Callable[..., Entry]:
    """Judge one claim of the paper ghostnet."""

    def one(check: dict[str, Any], **changes: Any) -> Entry:
        return judge_claim("ghostnet", validated(Claim, claim_of(check, **changes), "test"), protocols)

    return one


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """What pinned records say: of an arm, the values of a metric, seed by seed."""
    found: dict[tuple[str, str], list[float]] = {}

    def arm_result(_slug: str, _name: str, _plan: Protocol, arm: str, metric: str = "top1") -> ArmResult | None:
        return ArmResult(dict(enumerate(found[arm, metric]))) if (arm, metric) in found else None

    monkeypatch.setattr(runs, "arm_result", arm_result)

    def pin(metric: str = "top1", **arms: list[float]) -> None:
        found.update({(arm, metric): values for arm, values in arms.items()})

    return pin


@pytest.fixture
def claims_file(tmp_path: Path) -> Callable[..., Path]:
    """A claims.yaml of the paper `paper`."""

    def write(*exhibits: dict[str, Any]) -> Path:
        path = tmp_path / "paper" / "claims.yaml"
        path.parent.mkdir()
        path.write_text(yaml.safe_dump(list(exhibits), sort_keys=False), encoding="utf-8")
        return path

    return write
