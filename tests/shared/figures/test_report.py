from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest

from shared.figures import report
from shared.figures.report import Report
from shared.ledger import Entry
from shared.ledger.judge import Verdict


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


def test_the_rest_is_what_no_table_was_asked_for(shown: list[str]) -> None:
    paper = Report("ghostnet")
    assert [found.id for found in paper.of("Table 1")] == ["one", "two"]
    paper.show_rest()
    (rest,) = shown
    assert rest.startswith("### Table 3") and "three" in rest and "four" not in rest
    assert [found.id for found in paper.runs] == ["four"]


def test_pinned_curves_are_one_line_for_each_seed(shown: list[str]) -> None:
    paper = Report("ghostnet")
    curves = paper.curves("small", "vgg16", "test_top1")
    assert curves is not None and curves.shape == (3, paper.protocols["small"].recipe.epochs)
    accuracies = sorted(
        card.metrics["top1"] for card in paper.current if (card.protocol, card.arm) == ("small", "vgg16")
    )
    np.testing.assert_allclose(sorted(curves[:, -1]), accuracies, atol=5e-3)
    assert paper.curves("paper", "ghostnet", "test_top1") is None


def test_a_run_that_ended_early_goes_on_as_nothing(shown: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    paper = Report("ghostnet")
    monkeypatch.setattr(paper, "rows", lambda *_: {"0": [{"a": "1"}, {"a": "2"}], "1": [{"a": "3"}]})
    np.testing.assert_array_equal(paper.curves("small", "vgg16", "a"), [[1, 2], [3, np.nan]])


def test_what_is_missing_is_said(shown: list[str]) -> None:
    paper = Report("ghostnet")
    assert paper.checkpoint("no-such") is None
    paper.show_curves("paper", {"ghostnet": "GhostNet"})
    assert "ghostnet/no-such" in shown[0]
    assert shown[1].endswith("*Not here:* no run yet.") and "picture" not in shown


def test_curves_are_drawn_where_there_are_runs(shown: list[str]) -> None:
    paper = Report("ghostnet")
    paper.show_curves("small", {"vgg16": "VGG-16"})
    assert shown[-1] == "picture" and "*Not here:*" not in shown[0]
