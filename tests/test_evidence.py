from __future__ import annotations

from typing import Any

import pytest

from tests.evidence import Outcomes

FILE = "tests/a/test_b.py"
TEST = f"{FILE}::test_c"


def report(outcome: str, when: str = "call", nodeid: str = TEST, longrepr: Any = None) -> pytest.TestReport:
    return pytest.TestReport(nodeid, ("", 0, ""), {}, outcome, longrepr, when)  # type: ignore[arg-type]


def skipped(reason: str, nodeid: str = TEST) -> pytest.TestReport:
    return report("skipped", "setup", nodeid, (FILE, 1, f"Skipped: {reason}"))


def test_a_test_that_passed_proves_its_claim() -> None:
    outcomes = Outcomes()
    outcomes.pytest_runtest_logreport(report("passed", "setup"))
    assert outcomes.judge([TEST]) == [f"{TEST} did not run"]
    outcomes.pytest_runtest_logreport(report("passed", nodeid=f"{TEST}[0.5]"))
    assert outcomes.judge([TEST]) == []


def test_an_absent_library_is_the_only_excuse() -> None:
    outcomes = Outcomes()
    outcomes.pytest_runtest_logreport(skipped("could not import 'timm': No module named 'timm'"))
    assert outcomes.judge([TEST]) == []
    outcomes.pytest_runtest_logreport(skipped("needs a GPU"))
    assert outcomes.judge([TEST]) == [f"{TEST} was skipped (Skipped: needs a GPU)"]


@pytest.mark.parametrize(("reason", "expected"), [("could not import 'mmcv.ops': none", []), ("not today", [FILE])])
def test_a_file_that_was_skipped_whole(reason: str, expected: list[str]) -> None:
    outcomes = Outcomes()
    found = pytest.CollectReport(FILE, "skipped", (FILE, 1, f"Skipped: {reason}"), [])
    outcomes.pytest_collectreport(found)
    assert [line.split()[0] for line in outcomes.judge([TEST])] == expected


@pytest.mark.parametrize("outcome", ["skipped", "passed"])
def test_a_test_that_is_expected_to_fail_proves_nothing(outcome: str) -> None:
    outcomes = Outcomes()
    expected = report(outcome)
    expected.wasxfail = "reason: later"
    outcomes.pytest_runtest_logreport(expected)
    assert outcomes.judge([TEST]) == [f"{TEST} is expected to fail"]


def test_one_setting_that_fails_is_enough() -> None:
    outcomes = Outcomes()
    outcomes.pytest_runtest_logreport(report("passed", nodeid=f"{TEST}[a]"))
    outcomes.pytest_runtest_logreport(report("failed", nodeid=f"{TEST}[b]"))
    assert outcomes.judge([TEST]) == [f"{TEST} failed"]
