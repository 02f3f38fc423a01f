from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shared.figures import report
from shared.figures.report import Report
from shared.ledger import Entry
from shared.ledger.entry import Verdict
from shared.ledger.judge import judge


def entry(name: str, where: str, check: str = "quote", verdict: Verdict = "not attempted") -> Entry:
    return Entry(
        paper="ghostnet",
        id=name,
        where=where,
        row=name,
        quantity="top1",
        says="90",
        ours=None,
        check=check,
        protocol=None,
        verdict=verdict,
        confidence="read",
        reason="",
        command="",
        evidence="",
    )


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the notebook would show as text, with entries made up and everything else GhostNet's own."""
    said: list[str] = []
    entries = [entry("one", "Table 1"), entry("two", "Table 2, Table 1"), entry("three", "Table 3")]
    monkeypatch.setattr(report, "judge", lambda slug: [*entries, entry("four", "Table 3", check="run")])
    monkeypatch.setattr(report, "note", said.append)
    monkeypatch.setattr(plt, "show", lambda: said.append("picture"))
    yield said
    plt.close("all")


def test_the_rest_is_what_nothing_has_shown(shown: list[str]) -> None:
    paper = Report("ghostnet")
    paper.exhibit("Table 1")
    assert "one" in shown[0] and "two" in shown[0]
    paper.rest()
    assert len(shown) == 2 and shown[1].startswith("### Table 3") and "three" in shown[1]


def test_the_notebook_opens_with_the_verdict_and_what_is_made(shown: list[str]) -> None:
    paper = Report("ghostnet")
    kinds = {"Table": 8, "Figure": 7}
    assert {kind: sum(one.name.startswith(kind) for one in paper.paper.exhibits) for kind in kinds} == kinds
    assert paper.coverage() == "Tables 8 of 8, figures 4 of 7"
    unknown = Report("ghostnet")
    unknown.paper = paper.paper.model_copy(update={"exhibits": ()})
    assert unknown.coverage() == "No copy of the paper's tables and figures is known here"
    paper.paper = paper.paper.model_copy(update={"verdict": "It holds."})
    paper.opening()
    assert shown[0] == "**It holds.**" and "Marks: ○ not attempted." in shown[1]
    assert shown[2].startswith("Tables 8 of 8, figures 4 of 7.") and "- Figure 7: latency" in shown[2]


def test_a_part_of_an_exhibit_belongs_to_it(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry("one", "Table 4(a)"), entry("two", "Table 4 (CIFAR-10)"), entry("three", "Table 41")]
    monkeypatch.setattr(report, "judge", lambda slug: entries)
    Report("ghostnet").exhibit("Table 4")
    assert [text.split("\n")[0] for text in shown] == ["### Table 4(a)", "### Table 4 (CIFAR-10)"]


def test_orderings_that_were_run_are_drawn_after_their_table(monkeypatch: pytest.MonkeyPatch, shown: list[str]) -> None:
    monkeypatch.setattr(report, "judge", judge)
    Report("ghostnet").exhibit("Table 5")
    assert "inconclusive" in shown[0] and shown[1] == "picture"


def test_pinned_curves_are_one_line_for_each_seed(shown: list[str]) -> None:
    paper = Report("ghostnet")
    curves = paper.curves("small", "resnet20", "test_top1")
    found = paper.result("small", "resnet20")
    assert curves is not None and curves.shape == (3, paper.protocols["small"].recipe.epochs)
    assert found is not None
    np.testing.assert_allclose(sorted(curves[:, -1]), sorted(found.values.values()), atol=5e-3)
    assert paper.curves("paper", "ghostnet", "test_top1") is None


def test_a_run_that_ended_early_goes_on_as_nothing(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Report("ghostnet")
    runs = {"0": SimpleNamespace(curves={"a": (1.0, 2.0)}), "1": SimpleNamespace(curves={"a": (3.0,)})}
    monkeypatch.setattr(paper, "records", lambda *_: runs)
    np.testing.assert_array_equal(paper.curves("small", "vgg16", "a"), [[1, 2], [3, np.nan]])


def test_what_is_missing_is_said(shown: list[str]) -> None:
    paper = Report("ghostnet")
    assert paper.checkpoint("no-such") is None and paper.result("small", "no-such") is None
    paper.show_curves("paper", {"ghostnet": "GhostNet"})
    assert "ghostnet/no-such" in shown[0]
    assert shown[1].endswith("no run is pinned yet.") and "picture" not in shown


def test_curves_are_drawn_where_there_are_runs(shown: list[str]) -> None:
    Report("ghostnet").show_curves("small", {"resnet20": "ResNet-20"})
    assert shown == ["picture"]
