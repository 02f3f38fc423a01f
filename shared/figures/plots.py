"""Charts in one style: accuracy against cost, curves with a band, intervals of differences.

Colours are Okabe and Ito's, which colour-blind readers can tell apart; no meaning hangs on colour alone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from shared.files import atomic_write

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#767676"
PALETTE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
VERDICT_COLOURS = {
    "exact": GREEN,
    "within": GREEN,
    "supported": GREEN,
    "inconclusive": ORANGE,
    "deviates": VERMILION,
    "contradicted": VERMILION,
    "not attempted": GREY,
}
# Where a label may stand, seen from its point, right and up. Accuracy rises with cost, so that a line through the
# points leaves the lower right and the upper left free: these come first.
SPOTS = ((1, -1), (-1, 1), (1, 0), (-1, 0), (0, -1), (0, 1), (1, 1), (-1, -1))
RINGS = (4.5, 9.0, 14.0, 20.0)  # distances from the point that are tried in turn, in points


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


def accuracy_against_cost(axes: Axes, points: Sequence[Point], *, joined: Sequence[str] = ()) -> None:
    """Draw `points`; filled markers are counted by us, hollow ones as printed. Families in `joined` get a line."""
    colours: dict[str, str] = {}
    for place, family in enumerate(dict.fromkeys(point.family for point in points)):
        colours[family] = colour = PALETTE[place % len(PALETTE)]
        marker = MARKERS[place % len(MARKERS)]
        members = sorted((point for point in points if point.family == family), key=lambda point: point.cost)
        costs = [point.cost for point in members]
        accuracies = [point.accuracy for point in members]
        axes.plot(costs, accuracies, color=colour, linestyle="-" if family in joined else "", zorder=2)
        spreads = [point.spread for point in members]
        if any(spreads):
            axes.errorbar(costs, accuracies, yerr=spreads, color=colour, linestyle="", capsize=3, zorder=2)
        faces = [colour if point.counted else "white" for point in members]
        axes.scatter(costs, accuracies, c=faces, edgecolors=colour, marker=marker, s=34, zorder=3)
        # An empty plot for the legend, so that its marker is filled whatever the family's first point is.
        axes.plot([], [], color=colour, marker=marker, linestyle="-" if family in joined else "", label=family)
    label_points(axes, [(point.label, point.cost, point.accuracy, colours[point.family]) for point in points])


def label_points(axes: Axes, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write each (text, x, y, colour) beside its point, on the first spot around it that nothing else covers."""
    figure = axes.figure.get_figure(root=True)
    assert figure is not None
    axes.margins(x=0.08, y=0.08)
    figure.canvas.draw()  # settles the layout and the limits, which the extents below depend on
    spots = axes.transData.transform([(x, y) for _, x, y, _ in labels]) if labels else np.empty((0, 2))
    pixels = figure.dpi / 72
    taken: list[tuple[float, ...]] = [
        (x - 4 * pixels, y - 4 * pixels, x + 4 * pixels, y + 4 * pixels) for x, y in spots
    ]
    inside = axes.get_window_extent()
    for (text, x, y, colour), (spot_x, spot_y) in zip(labels, spots, strict=True):
        written = axes.annotate(text, (x, y), xytext=(0, 0), textcoords="offset points", fontsize=7.5)
        written.set_color(_ink(colour))
        written.set_path_effects([withStroke(linewidth=2, foreground="white")])
        extent = written.get_window_extent()
        choices: list[tuple[float, int, tuple[float, ...]]] = []
        for ring in RINGS:
            for right, up in SPOTS:
                left = spot_x + right * ring * pixels + (right - 1) / 2 * extent.width
                low = spot_y + up * ring * pixels + (up - 1) / 2 * extent.height
                box = (left, low, left + extent.width, low + extent.height)
                outside = box[0] < inside.x0 or box[2] > inside.x1 or box[1] < inside.y0 or box[3] > inside.y1
                choices.append((sum(_overlap(box, other) for other in taken) + 1e6 * outside, len(choices), box))
        chosen = min(choices)[2]
        taken.append(chosen)
        drop = extent.y0 - spot_y  # how far the glyphs' box lies from the anchor of the text
        written.xyann = ((chosen[0] - spot_x) / pixels, (chosen[1] - spot_y - drop) / pixels)


def _ink(colour: str) -> tuple[float, float, float]:
    """A darker form of `colour` for text, whose thin strokes look pale."""
    red, green, blue = to_rgb(colour)
    return 0.6 * red, 0.6 * green, 0.6 * blue


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The area that two boxes (left, low, right, high) share, in square pixels."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


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
    """Draw each difference with its interval, the line -margin that decides it, and its verdict in words."""
    for place, difference in enumerate(differences):
        colour = VERDICT_COLOURS[difference.verdict]
        arms = [[difference.mean - difference.low], [difference.high - difference.mean]]
        axes.errorbar([difference.mean], [place], xerr=arms, fmt="o", color=colour, capsize=4)
        axes.plot([-difference.margin] * 2, [place - 0.32, place + 0.32], color=BLACK, linewidth=1.8)
        right = axes.get_yaxis_transform()  # x in parts of the axes' width: the verdicts form a column beside them
        axes.text(1.02, place, difference.verdict, color=_ink(colour), transform=right, va="center", weight="bold")
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(differences)), [difference.label for difference in differences])
    axes.set_ylim(len(differences) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
