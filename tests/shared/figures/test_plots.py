from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from shared.figures.plots import (
    Difference,
    Point,
    accuracy_against_cost,
    curve_band,
    difference_intervals,
    save_png,
    series,
    use_style,
)

matplotlib.use("agg")

CROWD = [Point("other", f"network {place}", 300 + place % 3, 72 + 0.2 * place, place % 2 == 0) for place in range(7)]


@pytest.fixture(autouse=True)
def style() -> None:
    use_style()


def test_labels_in_a_crowd_do_not_overlap() -> None:
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    ghosts = [Point("ghost", "1.0x", 141, 73.9, True), Point("ghost", "1.3x", 226, 75.7, True)]
    accuracy_against_cost(axes, [*CROWD, *ghosts])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 9
    for one, other in itertools.combinations(boxes, 2):
        width = min(one.x1, other.x1) - max(one.x0, other.x0)
        height = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert width < 1 or height < 1, "two labels share more than an edge"


def test_counted_points_are_filled_and_printed_ones_hollow() -> None:
    axes = Figure().subplots()
    accuracy_against_cost(axes, [Point("a", "x", 1, 50, True), Point("a", "y", 2, 60, False)], joined=["a"])
    filled, hollow = axes.collections[-1].get_facecolors()  # type: ignore[attr-defined]
    assert tuple(hollow) == to_rgba("white") != tuple(filled)


def test_a_family_looks_alike_in_two_charts() -> None:
    left, right = Figure().subplots(1, 2)
    accuracy_against_cost(left, [Point(name, "", 1, 50, True) for name in ("c", "b", "a")], families=("a", "b"))
    accuracy_against_cost(right, [Point("b", "", 1, 50, True), Point("d", "", 2, 50, True)], families=("a", "b"))
    looks = [{line.get_label(): (line.get_color(), line.get_marker()) for line in axes.lines} for axes in (left, right)]
    assert looks[0]["b"] == looks[1]["b"]
    assert len({looks[0][name] for name in "abc"}) == 3
    assert looks[1]["d"] not in (looks[1]["b"], looks[0]["a"])  # the absent one's colour stays its own
    assert "a" not in looks[1]


def test_the_same_chart_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        figure = Figure(figsize=(4, 3))
        accuracy_against_cost(figure.subplots(), CROWD)
        save_png(figure, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert b"Software" not in (tmp_path / "one.png").read_bytes()


def test_the_band_is_the_range_over_seeds() -> None:
    axes = Figure().subplots()
    curve_band(axes, {"arm": np.array([[1.0, 2.0], [3.0, 6.0]])})
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), [[1, 2], [2, 4]])
    corners = axes.collections[0].get_paths()[0].vertices
    assert {(1, 1), (1, 3), (2, 2), (2, 6)} <= set(map(tuple, np.asarray(corners)))


def test_a_chart_without_points_says_so() -> None:
    axes = Figure().subplots()
    accuracy_against_cost(axes, [])
    assert [text.get_text() for text in axes.texts] == ["not here: no run is pinned yet"]


def test_error_bars_at_one_cost_stand_side_by_side() -> None:
    figure = Figure()
    axes = figure.subplots()
    accuracy_against_cost(
        axes, [Point(name, name, 5, 60, True, 1.0) for name in "abc"] + [Point("d", "d", 9, 60, True)]
    )
    drawn = [one.get_offsets() for one in axes.collections if isinstance(one, PathCollection)][1:]  # all; each family
    places = [float(np.asarray(offsets)[0, 0]) for offsets in drawn]
    left, middle, right = (axes.transData.transform((place, 60))[0] * 72 / figure.dpi for place in places[:3])
    assert middle - left > 5 and right - middle > 5 and places[1] == pytest.approx(5)
    assert places[3] == pytest.approx(9)  # alone, and without a bar


def test_series_at_equal_places_do_not_stack() -> None:
    axes = Figure().subplots()
    series(axes, {"a": {40: (1.0, 0.1), 60: (2.0, 0.1)}, "b": {40: (1.0, 0.1)}}, apart=2)
    drawn = [container.lines[0].get_xdata().tolist() for container in axes.containers]
    assert drawn == [[39, 59], [41]]


def test_a_verdict_stands_in_words_with_its_mark() -> None:
    axes = Figure().subplots()
    sure, unsure = Difference("a", 1.0, 0.5, 1.5, 0.0, "supported"), Difference("b", 0, -2, 2, 1, "inconclusive")
    difference_intervals(axes, [sure, unsure])
    assert [text.get_text() for text in axes.texts] == ["▲ supported", "? inconclusive"]


def test_one_wide_interval_does_not_crush_the_others() -> None:
    axes = Figure().subplots()
    narrow = [Difference(name, 0.5, -0.4, 1.4, 1.0, "supported") for name in "abcd"]
    difference_intervals(axes, [*narrow, Difference("e", 45.9, 13.2, 78.6, 1.0, "supported")])
    low, high = axes.get_xlim()
    assert low < -1.0 and 1.4 < high < 5
    assert "+45.9 (+13.2 to +78.6)" in [text.get_text().strip() for text in axes.texts]
