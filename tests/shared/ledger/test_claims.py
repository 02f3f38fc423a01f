from __future__ import annotations

from typing import Any

import pytest

from shared.errors import PapertrailError
from shared.ledger.claims import Claim, named_tests
from shared.schema import validated
from tests.shared.ledger.conftest import claim_of

COUNT = {"kind": "count", "model": "vgg16"}
RUN = {"kind": "run", "protocol": "small", "better": "ghost", "than": "plain", "criterion": "ghost is better",
       "floor": {"top1": 20}}  # fmt: skip
ORDERING = {"quantity": "ordering", "says": "ghost beats plain"}
TEST = "tests/a.py::test_b"


@pytest.mark.parametrize(
    ("check", "changes", "named"),
    [
        (COUNT, {"colour": "red"}, "colour"),
        ({**COUNT, "modle": "x"}, {}, "modle"),
        ({"kind": "guess"}, {}, "check"),
        (COUNT, {"says": "about 15M"}, "not a printed number"),
        (COUNT, {"quantity": "top1"}, "cannot be counted"),
        (RUN, {}, "ordering"),
        ({**RUN, "margin": -1}, ORDERING, "margin"),
        ({**RUN, "floor": {}}, ORDERING, "floor"),
        ({key: RUN[key] for key in RUN if key != "floor"}, ORDERING, "floor"),
        ({"kind": "measure", "protocol": "p", "arm": "a", "metric": "params", "tolerance": 0}, {}, "tolerance"),
        ({"kind": "quote"}, {"deviates": {"reason": "a layer more"}}, "only a count deviates"),
        (COUNT, {"evidence": "somewhere"}, "evidence"),
        (COUNT, {"id": "T1 A"}, "id"),
    ],
)
def test_what_is_wrong_is_named(check: dict[str, Any], changes: dict[str, Any], named: str) -> None:
    with pytest.raises(PapertrailError, match=named):
        validated(Claim, claim_of(check, **changes), "here")


def test_what_a_test_shows_may_be_a_formula() -> None:
    claim = validated(Claim, claim_of({"kind": "arithmetic", "test": TEST}, says="2C^2/r"), "here")
    assert claim.says == "2C^2/r"


def test_every_test_that_a_claim_rests_on_is_named() -> None:
    oracle = claim_of({"kind": "oracle", "test": TEST}, quantity="outputs", evidence="tests/a.py::test_c")
    assert named_tests(validated(Claim, oracle, "here")) == [TEST, "tests/a.py::test_c"]
    count = claim_of(COUNT, deviates={"reason": "a layer more", "evidence": TEST})
    assert named_tests(validated(Claim, count, "here")) == [TEST]
    assert named_tests(validated(Claim, claim_of(COUNT), "here")) == []
