from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.errors import PapertrailError
from shared.ledger import Entry

Judge = Callable[..., Entry]
HERE = "tests/shared/ledger/test_judge.py::test_an_oracle_names_a_test_that_exists"


def test_what_is_not_attempted_says_why(verdict: Judge) -> None:
    entry = verdict({"kind": "quote"}, quantity="top1", says="93.6", reason="needs a phone")
    assert (entry.verdict, entry.ours, entry.reason, entry.command) == ("not attempted", None, "needs a phone", "")
    assert verdict({"kind": "quote"}).reason == "A network of other authors, which is not built here."


def test_what_an_arm_would_tell_names_its_needs_and_its_command(verdict: Judge) -> None:
    entry = verdict({"kind": "quote", "protocol": "full", "arm": "plain"}, quantity="outputs", reason="Its spread.")
    assert (entry.check, entry.protocol) == ("quote", "full")
    assert entry.reason == (
        "Its spread. Not run: the recipe is here (`full` in params.yaml), and needs one GPU, about 40 hours."
    )
    assert entry.command == "papertrail train ghostnet full plain && papertrail evaluate ghostnet full plain"


def test_an_oracle_names_a_test_that_exists(verdict: Judge) -> None:
    outputs = {"quantity": "outputs", "says": "equal"}
    entry = verdict({"kind": "oracle", "test": HERE}, **outputs)
    assert (entry.verdict, entry.command) == ("within", f"pytest {HERE}")
    with pytest.raises(PapertrailError, match="has no test"):
        verdict({"kind": "oracle", "test": f"{HERE}_not"}, **outputs)
    with pytest.raises(PapertrailError, match="has no test"):
        verdict({"kind": "count", "model": "vgg16"}, evidence="tests/nowhere.py::test_x")


def test_arithmetic_is_consistent_and_no_more(verdict: Judge) -> None:
    entry = verdict({"kind": "arithmetic", "test": HERE}, quantity="params_saved", says="51.0")
    assert (entry.verdict, entry.check, entry.command) == ("consistent", "arithmetic", f"pytest {HERE}")


def test_the_ledger_names_the_evidence_of_an_explanation(verdict: Judge) -> None:
    count = {"kind": "count", "model": "vgg16"}
    assert verdict(count, says="15.0M", deviates={"reason": "a layer more", "evidence": HERE}).evidence == HERE
    assert verdict(count, reason="see there", evidence=HERE).evidence == HERE
    assert verdict(count).evidence == ""
