from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.ledger import Claim, Entry
from shared.ledger.judge import judge_claim
from shared.schema import validated
from shared.training.recipe import Protocol

ARMS = {"plain": {"builder": "vgg16"}, "ghost": {"builder": "ghost_vgg16", "args": {"s": 2}}}
PROTOCOL = {
    "what": "a test",
    "data": "mnist5k",
    "repeats": 3,
    "arms": ARMS,
    "recipe": {"epochs": 1, "batch_size": 8, "optimiser": {"name": "sgd", "lr": 0.1}},
}


def claim_of(check: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A claim as claims.yaml holds it."""
    base = {"id": "t1.a", "where": "Table 1", "row": "A", "quantity": "params", "says": "15M", "confidence": "read"}
    return {**base, "check": check, **changes}


@pytest.fixture(name="claim")
def claim_fixture() -> Callable[..., dict[str, Any]]:
    return claim_of


@pytest.fixture
def protocols() -> dict[str, Protocol]:
    return {name: validated(Protocol, PROTOCOL, name) for name in ("mini", "small")}


@pytest.fixture
def verdict(protocols: dict[str, Protocol]) -> Callable[..., Entry]:
    """Judge one claim of the paper ghostnet."""

    def one(check: dict[str, Any], **changes: Any) -> Entry:
        return judge_claim("ghostnet", validated(Claim, claim_of(check, **changes), "test"), protocols)

    return one


@pytest.fixture
def claims_file(tmp_path: Path) -> Callable[..., Path]:
    def write(*claims: dict[str, Any]) -> Path:
        path = tmp_path / "claims.yaml"
        path.write_text(yaml.safe_dump(list(claims)), encoding="utf-8")
        return path

    return write
