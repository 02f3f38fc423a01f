"""What a claim rests on has to have passed: the tests that claims.yaml names, in a run of the whole suite."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from shared.ledger.claims import named_tests
from shared.ledger.expand import load_claims
from shared.paper import papers

# The one excuse: a library of the optional dependencies is not installed here.
ABSENT = re.compile(r"could not import '[\w.]+'")


class Outcomes:
    """A pytest plugin that fails a full run in which a test that a claim names did not pass."""

    def __init__(self) -> None:
        self.passed: set[str] = set()
        self.excused: set[str] = set()  # tests, and whole files
        self.faults: dict[str, str] = {}
        self.unproven: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        if hasattr(report, "wasxfail"):
            self.faults[name] = "is expected to fail"
        elif report.skipped:
            self._skipped(name, report.longrepr)
        elif report.failed:
            self.faults[name] = "failed"
        elif report.when == "call":
            self.passed.add(name)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._skipped(report.nodeid, report.longrepr)

    def _skipped(self, name: str, why: object) -> None:
        reason = str(why[2]) if isinstance(why, tuple) else str(why)
        if ABSENT.search(reason):
            self.excused.add(name)
        else:
            self.faults[name] = f"was skipped ({reason})"

    def judge(self, named: Iterable[str]) -> list[str]:
        """One line for each of the tests that did not pass and has no excuse."""
        lines = []
        for name in sorted(set(named)):
            file = name.partition("::")[0]
            if name in self.faults:
                lines.append(f"{name} {self.faults[name]}")
            elif file in self.faults:
                lines.append(f"{file} {self.faults[file]}")
            elif name not in self.passed and not {name, file} & self.excused:
                lines.append(f"{name} did not run")
        return lines

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if _whole(session):
            self.unproven = self.judge(test for slug in papers() for claim in load_claims(slug)
                                       for test in named_tests(claim))  # fmt: skip
            if self.unproven and session.exitstatus == pytest.ExitCode.OK:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.unproven:
            terminalreporter.write_line(f"EVIDENCE papers/*/claims.yaml names a test that proves nothing: {line}")


def _whole(session: pytest.Session) -> bool:
    """Whether every test was to run, and none stopped the others."""
    option = session.config.option
    chosen = option.keyword or option.markexpr not in ("", "not slow") or option.collectonly or option.deselect
    given = session.config.args_source is pytest.Config.ArgsSource.ARGS
    return not (given or chosen or session.shouldstop or session.shouldfail)
