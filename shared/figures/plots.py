"""Charts in one style: accuracy against cost, curves with a band, intervals of differences.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; no meaning hangs on colour alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
import textalloc
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from shared.files import atomic_write
from shared.ledger.tables import MARKS

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#767676"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
REACH = 5.0  # an interval is cut where it reaches farther than so many times the median of all
APART = 6.0  # points: between error bars that would stand on one another


def use_style() -> None:
    """Set matplotlib up for every chart of the project."""
    mpl.rcParams.update(
        {
            "figure.dpi": 110,
            "savefig.dpi": 110,
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",  # comes with matplotlib, so that a picture is the same everywhere
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.prop_cycle": cycler(color=PALETTE),
            "grid.color": "#e3e3e3",
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "legend.fontsize": 8,
            "lines.linewidth": 1.4,
        }
    )


def save_png(figure: Figure, path: Path) -> None:
    """Write `figure` as a PNG that depends on its content alone (no date, no version of the writer)."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", metadata={"Software": None})
    with atomic_write(path, "wb") as stream:
        stream.write(picture.getvalue())


@dataclass(frozen=True)
class Point:
    """A network in a chart of accuracy against cost.

    Attributes:
        family: networks of one family share colour and marker, and a line joins those that are `joined`.
        label: what stands beside the point.
        cost: its place on the horizontal axis, in the axis' unit.
        accuracy: per cent.
        counted: the cost was counted on a network built here (filled marker) or is as printed (hollow marker).
        spread: half the length of the accuracy's error bar, or 0.
    """

    family: str
    label: str
    cost: float
    accuracy: float
    counted: bool
    spread: float = 0.0


def accuracy_against_cost(
    axes: Axes,
    points: Sequence[Point],
    *,
    families: Sequence[str] = (),
    joined: Sequence[str] = (),
    legend: Literal["lower right", "best"] = "lower right",
) -> None:
    """Draw `points`; filled markers are counted by us, hollow ones as printed. Families in `joined` get a line.

    Families take colours and markers in the order of `families`, whether they have a point here or not, so that two
    charts can show a family alike; those that are not named follow in the order of their points.
    Error bars that would stand on one another stand side by side. Set labels and limits of the axes first: the names of
    the points are written where they find room.
    """
    if not points:
        axes.text(0.5, 0.5, "not here: no run is pinned yet", ha="center", transform=axes.transAxes)
        return
    present = {point.family: None for point in points}
    looks = {
        family: (PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)])
        for place, family in enumerate(dict.fromkeys([*families, *present]))
        if family in present
    }
    axes.scatter([point.cost for point in points], [point.accuracy for point in points], alpha=0)  # settles the limits
    axes.margins(x=0.08, y=0.08)
    costs = _dodged(axes, points)
    for family, (colour, marker) in looks.items():
        members = [(cost, point) for cost, point in zip(costs, points, strict=True) if point.family == family]
        members.sort(key=lambda member: member[0])
        where, what = [cost for cost, _ in members], [point.accuracy for _, point in members]
        axes.plot(where, what, color=colour, linestyle="-" if family in joined else "", zorder=2)
        if any(point.spread for _, point in members):
            spreads = [point.spread for _, point in members]
            axes.errorbar(where, what, yerr=spreads, color=colour, linestyle="", capsize=3, zorder=2)
        faces = [colour if point.counted else "white" for _, point in members]
        axes.scatter(where, what, c=faces, edgecolors=colour, marker=marker, s=34, zorder=3)
        # An empty plot for the legend, so that its marker is filled whatever the family's first point is.
        axes.plot([], [], color=colour, marker=marker, linestyle="-" if family in joined else "", label=family)
    if len(present) > 1 or joined:
        axes.legend(loc=legend)
    named = [
        (point.label, cost, point.accuracy, looks[point.family][0]) for cost, point in zip(costs, points, strict=True)
    ]
    label_points(axes, [one for one in named if one[0]])


def _dodged(axes: Axes, points: Sequence[Point]) -> list[float]:
    """The costs of `points`, those with error bars moved apart where they are nearer than `APART` points."""
    figure = axes.figure.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    apart = APART * figure.dpi / 72
    pixels = [float(axes.transData.transform((point.cost, point.accuracy))[0]) for point in points]
    order = sorted((place for place, point in enumerate(points) if point.spread), key=lambda place: pixels[place])
    crowd: list[int] = []
    for place in [*order, None]:
        if place is not None and (not crowd or pixels[place] - pixels[crowd[-1]] < apart):
            crowd.append(place)
            continue
        middle = sum(pixels[one] for one in crowd) / max(len(crowd), 1)
        for number, one in enumerate(crowd):
            pixels[one] = middle + (number - (len(crowd) - 1) / 2) * apart if len(crowd) > 1 else pixels[one]
        crowd = [] if place is None else [place]
    back = axes.transData.inverted()
    return [float(back.transform((x, 0))[0]) for x in pixels]


def label_points(axes: Axes, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write each (text, x, y, colour) near its point where nothing else stands, with a thin line to it from afar.

    Points, lines and the legend that `axes` has by now are kept free.
    """
    figure = axes.figure.get_figure(root=True)
    assert figure is not None
    if not labels:
        return
    figure.draw_without_rendering()  # settles the layout and the limits
    texts, xs, ys, colours = (list(column) for column in zip(*labels, strict=True))
    drawn = [np.asarray(line.get_xydata()) for line in axes.lines if line.get_linestyle() != "None"]
    lines = [line for line in drawn if len(line) > 1]
    lines += [bar for one in axes.collections if isinstance(one, LineCollection) for bar in one.get_segments()]
    kept = [*zip(xs, ys, strict=True), *_legend_grid(axes)]
    textalloc.allocate(
        axes,
        xs,
        ys,
        texts,
        x_scatter=[x for x, _ in kept],
        y_scatter=[y for _, y in kept],
        x_lines=[line[:, 0] for line in lines],
        y_lines=[line[:, 1] for line in lines],
        textsize=7.5,
        textcolor=[to_hex(_ink(colour)) for colour in colours],
        linecolor=GREY,
        linewidth=0.6,
        min_distance=0.012,
        max_distance=0.25,
        nbr_candidates=600,
        path_effects=[withStroke(linewidth=2, foreground="white")],
    )


def _legend_grid(axes: Axes) -> list[tuple[float, float]]:
    """Points all over the legend, so that no label is written there."""
    legend = axes.get_legend()
    if legend is None:
        return []
    box = legend.get_window_extent().transformed(axes.transData.inverted())
    return [(x, y) for x in np.linspace(box.x0, box.x1, 12) for y in np.linspace(box.y0, box.y1, 12)]


def _ink(colour: str) -> tuple[float, float, float]:
    """A darker form of `colour` for text, whose thin strokes look pale."""
    red, green, blue = to_rgb(colour)
    return 0.6 * red, 0.6 * green, 0.6 * blue


def series(axes: Axes, lines: Mapping[str, Mapping[float, tuple[float, float]]], *, apart: float) -> None:
    """Draw lines with error bars, each a little beside the one before, so that equal places do not stack.

    Args:
        axes: where to draw.
        lines: label -> place on the horizontal axis -> (mean, half the length of its error bar).
        apart: between two lines, in units of the horizontal axis.
    """
    for number, (label, found) in enumerate(lines.items()):
        if not found:
            continue  # keeps the looks of those that follow
        places = [place + (number - (len(lines) - 1) / 2) * apart for place in found]
        means, spreads = zip(*found.values(), strict=True)
        axes.errorbar(places, means, spreads, color=PALETTE[number % len(PALETTE)],
                      marker=MARKERS[number % len(MARKERS)], capsize=3, label=label)  # fmt: skip


def curve_band(axes: Axes, curves: Mapping[str, np.ndarray], *, first: int = 1) -> None:
    """Draw per name the mean over seeds as a line and the range from lowest to highest seed as a band.

    Args:
        axes: where to draw.
        curves: name -> array (seeds, epochs).
        first: the number of the first epoch.
    """
    for place, (name, values) in enumerate(curves.items()):
        epochs = np.arange(first, first + values.shape[1])
        colour = PALETTE[place % len(PALETTE)]
        axes.plot(epochs, values.mean(axis=0), color=colour, marker=MARKERS[place % len(MARKERS)], ms=3.5, label=name)
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


@dataclass(frozen=True)
class Difference:
    """A run claim in the chart of intervals: the difference better - than, its 95 % interval, the margin allowed."""

    label: str
    mean: float
    low: float
    high: float
    margin: float
    verdict: str


def difference_intervals(axes: Axes, differences: Sequence[Difference]) -> None:
    """Draw each difference with its interval, the line -margin that decides it, and its verdict in words.

    Where one interval would crush the others, it is cut at the frame, with an arrow and its numbers.
    """
    ends = [end for one in differences for end in (one.low, one.high, -one.margin, 0.0)]
    reach = [max(abs(one.low), abs(one.high)) for one in differences]
    edge = max(length for length in reach if length <= REACH * float(np.median(reach)))
    left, right = (min(max(end, -edge), edge) for end in (min(ends), max(ends)))
    left, right = left - 0.06 * (right - left), right + 0.06 * (right - left)
    for place, difference in enumerate(differences):
        mark, colour = MARKS[difference.verdict]
        low, high = max(difference.low, left), min(difference.high, right)
        axes.plot([low, high], [place, place], color=colour, zorder=3)
        for end, whole, arrow in ((low, difference.low, "<"), (high, difference.high, ">")):
            axes.plot([end], [place], "|" if end == whole else arrow, color=colour, ms=8, zorder=3, clip_on=False)
        if left < difference.mean < right:
            axes.plot([difference.mean], [place], "o", color=colour, zorder=3)
        if (low, high) != (difference.low, difference.high):
            text = f"{difference.mean:+.1f} ({difference.low:+.1f} to {difference.high:+.1f})"
            where, side = (right, "right") if difference.high > right else (left, "left")
            axes.text(where, place - 0.12, f" {text} ", ha=side, va="bottom", fontsize=7.5)
        axes.plot([-difference.margin] * 2, [place - 0.32, place + 0.32], color=BLACK, linewidth=1.8)
        column = axes.get_yaxis_transform()  # x in parts of the axes' width: the verdicts form a column beside them
        axes.text(
            1.03, place, f"{mark} {difference.verdict}", color=colour, transform=column, va="center", weight="bold"
        )
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(differences)), [one.label for one in differences])
    axes.set_ylim(len(differences) - 0.4, -0.6)
    axes.set_xlim(left, right)
    axes.grid(axis="y", visible=False)
