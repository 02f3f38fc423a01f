from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import PapertrailError
from shared.ledger.claims import read_claims
from shared.training.recipe import Protocol

Make = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
COUNT = {"kind": "count", "model": "vgg16"}
RUN = {"kind": "run", "protocol": "small", "better": "ghost", "than": "plain", "criterion": "ghost is better"}
ORDERING = {"quantity": "ordering", "says": "ghost beats plain"}


def test_a_claim_is_read_as_it_stands(claim: Make, claims_file: Write, protocols: dict[str, Protocol]) -> None:
    (found,) = read_claims(claims_file(claim(COUNT)), protocols)
    assert (found.says, found.check.kind, found.confidence) == ("15M", "count", "read")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"check": {**COUNT, "modle": "x"}}, "modle"),
        ({"check": {"kind": "guess"}}, "check"),
        ({"says": 93.6}, "says"),
        ({"says": "about 15M"}, "not a printed number"),
        ({"confidence": "sure"}, "confidence"),
        ({"quantity": "top1"}, "cannot be counted"),
        ({"check": {**COUNT, "convention": "fvcore"}}, "convention"),
        ({"check": {**COUNT, "units": "dozens"}}, "units"),
        ({"check": {**RUN}}, "ordering"),
        ({"check": {**RUN, "margin": -1}, **ORDERING}, "margin"),
        ({"evidence": "somewhere"}, "evidence"),
        ({"id": "T1 A"}, "id"),
    ],
)
def test_what_is_wrong_is_named(
    changes: dict[str, Any], named: str, claim: Make, claims_file: Write, protocols: dict[str, Protocol]
) -> None:
    path = claims_file({**claim(COUNT), **changes})
    with pytest.raises(PapertrailError, match=named) as caught:
        read_claims(path, protocols)
    assert str(path) in str(caught.value) and changes.get("id", "t1.a") in str(caught.value)


def test_what_a_test_shows_may_be_a_formula(claim: Make, claims_file: Write, protocols: dict[str, Protocol]) -> None:
    oracle = {"kind": "oracle", "test": "tests/a.py::test_b"}
    (found,) = read_claims(claims_file(claim(oracle, says="2C^2/r")), protocols)
    assert found.says == "2C^2/r"


def test_two_claims_with_one_id_are_refused(claim: Make, claims_file: Write, protocols: dict[str, Protocol]) -> None:
    with pytest.raises(PapertrailError, match=r"2 claims have the id `t1\.a`"):
        read_claims(claims_file(claim(COUNT), claim(COUNT)), protocols)


@pytest.mark.parametrize(("key", "value"), [("better", "gohst"), ("than", "plane"), ("protocol", "smal")])
def test_a_run_that_params_yaml_does_not_know_is_refused(
    key: str, value: str, claim: Make, claims_file: Write, protocols: dict[str, Protocol]
) -> None:
    path = claims_file(claim({**RUN, key: value}, **ORDERING))
    with pytest.raises(PapertrailError, match=f"`t1.a`.*`{value}`; it has"):
        read_claims(path, protocols)


def test_an_empty_file_is_refused(tmp_path: Path, protocols: dict[str, Protocol]) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text("", encoding="utf-8")
    with pytest.raises(PapertrailError, match="expected a list of claims"):
        read_claims(path, protocols)
