# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # GhostNet: more features from cheap operations
#
# Han, Wang, Tian, Guo, Xu and Xu, CVPR 2020, [arXiv:1911.11907](https://arxiv.org/abs/1911.11907).
#
# **The idea.** Many feature maps of a convolution look alike. A *Ghost module* makes only every *s*-th map by
# convolution (an *intrinsic* map) and derives the other *s* - 1 from it with a *d* x *d* depthwise convolution
# (its *ghosts*), for about 1/*s* of the multiply-adds (MACs). GhostNet is a MobileNetV3-like network built from them.
#
# **How to read a verdict.** A number that can be counted is built and counted here: `exact` when ours rounds to what
# is printed, `within` when it is as near as a stated tolerance (or a number read off a figure) asks, and `deviates`
# otherwise, always with the reason. A number that is the outcome of training is never compared with a smaller run: from
# those only an *ordering* (A is better than B) is judged, by a criterion written before the run: `supported`,
# `contradicted` or `inconclusive`. What was not done is `not attempted`, with the command that would do it where there
# is one. A row of the tables below holds what the paper prints beside what was found here; how a print is known is said
# where we did not read it in the paper.
#
# This notebook reads results; it trains nothing.

# %%
from __future__ import annotations

import functools
import math
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from papers.ghostnet import DEFAULTS, MODELS
from papers.ghostnet.model import ghost_vgg16, theoretical_speed_up, vgg16
from shared import datasets
from shared.figures import maps, plots
from shared.figures.report import Report, note
from shared.ledger import Claim, tables
from shared.ledger.claims import CountCheck
from shared.ledger.evidence import arm_result
from shared.ledger.printed import parse_printed
from shared.measure import count

report = Report("ghostnet")
PAPER, PROTOCOLS = report.folder, report.protocols
of = report.of

note(tables.verdict_line(report.entries) + "\n\n" + tables.overview(report.entries))

# %% [markdown]
# ## Table 2 and figure 1: is one map of a pair made from the other by a cheap operation?
#
# The paper takes pairs of alike maps from an ImageNet ResNet-50 and fits one from the other with a learned *d* x *d*
# depthwise convolution: the error is small, and hardly falls beyond *d* = 3. There are no ImageNet weights here, so
# the paper's errors stay untested. The same question is put to a pinned plain VGG-16 (one eighth of the width, trained
# on CIFAR-10 in its JPEG form): maps of the second layer; the three pairs with the highest absolute correlation, no map
# twice, the lower number being the source; the kernel by least squares.
#
# On the picture that it was fitted on, a larger kernel cannot do worse, so that this half of the ordering holds by
# construction. What can fail is the error on *another* picture, and whether the gain beyond *d* = 3 is small. Errors
# are given as shares of the map's variance: 0 is a perfect fit, 1 is what the best constant would reach.

# %%
PICTURES = ("china.jpg", "flower.jpg")  # photographs that scikit-learn ships


pinned = functools.cache(report.checkpoint)  # says once what is missing


def second_layer(name: str, picture: str) -> Tensor | None:
    """Maps (C, H, W) of the second layer of a pinned VGG network that sees `picture` at the size it was trained on."""
    found = pinned(name)
    if found is None:
        return None
    model, card = found
    spec = datasets.spec(card.data)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
    image = (maps.sample_picture(picture, spec.shape[1]) / 255 - mean) / std
    (features,) = maps.catch(model, [model.get_submodule("features.1")], image[None])
    return features[0]


fitted, unseen = (second_layer("vgg16-small-0", picture) for picture in PICTURES)
if fitted is not None and unseen is not None:
    rows, better, further = [], 0, 0
    pairs = maps.similar_pairs(fitted, 3)
    for one, other, correlation in pairs:
        errors = {}
        for size in (1, 3, 5, 7):
            kernel = maps.fit_depthwise(fitted[one], fitted[other], size)
            errors[size] = [
                maps.fit_error(planes[one], planes[other], kernel) / (float(planes[other].double().var()) or math.nan)
                for planes in (fitted, unseen)
            ]
        cells = [f"{on_fitted:.3f} / {on_unseen:.3f}" for on_fitted, on_unseen in errors.values()]
        rows.append([f"{one + 1} to {other + 1} (r = {correlation:.2f})", *cells])
        better += errors[3][1] < errors[1][1]
        further += errors[3][1] - errors[7][1] > errors[1][1] - errors[3][1]
    note(f"Share of the variance left over, on {PICTURES[0]} (fitted) / on {PICTURES[1]} (not seen by the fit):")
    note(tables.markdown_table(["maps", "d = 1", "d = 3", "d = 5", "d = 7"], rows))
    note(
        f"On the picture that the fit did not see, *d* = 3 is better than *d* = 1 for {better} of {len(pairs)} pairs, "
        f"and going on from 3 to 7 gains more than going from 1 to 3 did for {further}. This tests the shape of the "
        "paper's finding on another network, not its numbers."
    )
note(tables.section(of("Table 2", "Figure 1")))

# %% [markdown]
# ## Figures 4 and 5: intrinsic maps, their ghosts, and the maps of the plain network
#
# The second layer of the pinned Ghost-VGG-16 (*s* = 2) and of the plain VGG-16, both of one eighth of the width, so
# that eight maps stand where the paper shows sixty-four. The input is `china.jpg` from scikit-learn, its central square
# at 32 x 32 pixels: the paper's picture is not published. Each ghost stands under the intrinsic map it was made from.

# %%
ghosts = second_layer("ghost-vgg16-s2-small-0", PICTURES[0])
if ghosts is not None and fitted is not None:
    half = len(ghosts) // 2
    alike = [float(torch.corrcoef(ghosts[[k, half + k]].flatten(1))[0, 1]) for k in range(half)]
    figure = plt.figure(figsize=(9.5, 2.7))
    left, middle, right = figure.subfigures(1, 3, squeeze=False, width_ratios=(1.1, 2, 2))[0]
    left.suptitle("input")
    canvas = left.add_subplot()
    maps.show_picture(canvas, maps.sample_picture(PICTURES[0], 32).permute(1, 2, 0).numpy(), PICTURES[0])
    middle.suptitle("Ghost-VGG-16, layer 2")
    titles = [f"intrinsic {k + 1}" for k in range(half)] + [f"ghost {k + 1}" for k in range(half)]
    maps.show_maps(middle, ghosts, titles, columns=half)
    right.suptitle("VGG-16, layer 2")
    maps.show_maps(right, fitted, [f"map {k + 1}" for k in range(len(fitted))], columns=len(fitted) // 2)
    plt.show()
    listed = ", ".join("none (a constant map)" if math.isnan(value) else f"{value:.2f}" for value in alike)
    note(f"Correlation of each ghost with its intrinsic map: {listed}.")
note(tables.section(of("Figure 4", "Figure 5")))

# %% [markdown]
# ## Section 3.1, table 4: does the count fall as the formula says?
#
# Equation 4 gives a Ghost module's speed-up *r_s*, about *s* when the input has many channels. A network gains less:
# its first convolution and its classifier stay as they are. Counted on Ghost-VGG-16 against VGG-16 at 32 x 32.

# %%
CIFAR = DEFAULTS["vgg16"][0]
RATIOS = (2, 3, 4, 5)
plain = count(vgg16(), CIFAR)
counted = {s: count(ghost_vgg16(s=s), CIFAR) for s in RATIOS}
theory = {s: [theoretical_speed_up(c, k=3, s=s, d=3) for c in (64, 512)] for s in RATIOS}
ratios = {s: (plain.macs / counted[s].macs, plain.params / counted[s].params) for s in RATIOS}

figure, axes = plt.subplots(figsize=(5.2, 3.4))
axes.plot(RATIOS, RATIOS, color=plots.GREY, linestyle=":", label="s itself")
low, high = zip(*theory.values(), strict=True)
axes.fill_between(RATIOS, low, high, color=plots.SKY, alpha=0.4, label="$r_s$ of one layer, c from 64 to 512")
for column, (name, marker) in enumerate({"MACs": "o", "parameters": "s"}.items()):
    axes.plot(
        RATIOS, [ratios[s][column] for s in RATIOS], marker, color=plots.PALETTE[column], label=f"counted, {name}"
    )
axes.set(xlabel="s", ylabel="VGG-16 / Ghost-VGG-16", xticks=RATIOS)
axes.legend()
plt.show()
inside = [str(s) for s in RATIOS if theory[s][0] <= ratios[s][0] <= theory[s][1]]
rows = [
    [f"{s}", f"{theory[s][0]:.2f} to {theory[s][1]:.2f}", f"{ratios[s][0]:.2f}", f"{ratios[s][1]:.2f}"] for s in RATIOS
]
note(tables.markdown_table(["s", "r_s, c = 64 to 512", "MACs: counted", "parameters: counted"], rows))
note(
    "The counted speed-up of the whole network lies within the range of its layers for "
    + (f"s = {', '.join(inside)}." if inside else "no s.")
)
note(tables.section(of("Section 3.1")))

# %% [markdown]
# ## Tables 3, 4 and 5: VGG-16 and ResNet-56 on CIFAR-10
#
# The accuracies are outcomes of the paper's CIFAR-10 recipe. Runs under `mini` and `small` use smaller networks,
# shorter schedules, and MNIST digits or CIFAR-10 in its lossy JPEG form: they bear on orderings only, and their
# percentages are never set against the paper's.

# %%
note("### Table 3: the kernel *d* of the cheap operation\n\n" + tables.section(of("Table 3")))
note("### Table 4: the ratio *s*\n\n" + tables.section(of("Table 4")))
note("### Table 5: against the plain networks and their pruned forms\n\n" + tables.section(of("Table 5")))

# %% [markdown]
# ## Table 6: ResNet-50 on ImageNet

# %%
note(tables.section(of("Table 6")))

# %% [markdown]
# ## Table 7 and figure 6: small networks on ImageNet
#
# Left: the accuracies are the paper's, none was measured here. The MACs are counted on the networks built here where we
# build them (filled markers) and as printed otherwise (hollow). Right: how far our counts lie from the printed ones;
# the grey bars are what rounding the print, or reading it off the figure, allows. The TensorFlow release, which the
# paper was made with, rounds GhostNet's channels by one rule and the PyTorch release by another: where circle and
# square part, the printed MACs tell which rule was used.

# %%
FAMILIES = ("GhostNet", "MobileNetV3-L", "MobileNetV2", "ShuffleNetV2", "ShuffleNetV1")
MILLION = 1e6


def millions(text: str) -> float:
    """A printed number of MACs in millions."""
    return float(parse_printed(text).value) / MILLION


def imagenet_points() -> list[plots.Point]:
    """The networks of table 7 and figure 6 with accuracy and MACs; of two prints the table's."""
    cells = {(entry.row, entry.quantity): entry for entry in [*of("Figure 6"), *of("Table 7")]}
    points = []
    for (row, quantity), accuracy in cells.items():
        if quantity != "top1" or (row, "macs") not in cells:
            continue
        macs = cells[row, "macs"]
        family = next((name for name in FAMILIES if row.startswith(name)), "others")
        label = row.removeprefix(family).strip()
        label = label.strip("()") if label.startswith("(") else label
        cost = millions(macs.ours or macs.says)
        points.append(plots.Point(family, label, cost, float(accuracy.says), macs.ours is not None))
    order = [*FAMILIES, "others"]
    return sorted(points, key=lambda point: order.index(point.family))


def draw_imagenet(axes: Axes) -> None:
    """Accuracy as printed against MACs as counted."""
    plots.accuracy_against_cost(axes, imagenet_points(), joined=FAMILIES)
    axes.set(xlabel="MACs, millions (filled: counted here; hollow: as printed)", ylabel="ImageNet top-1, % (printed)")
    axes.legend(loc="lower right")


RULES: dict[str, dict[str, Any]] = {
    "tensorflow": {"marker": "o", "color": plots.BLUE},
    "pytorch": {"marker": "s", "color": plots.VERMILION, "fillstyle": "none", "markersize": 9},
    "": {"marker": "^", "color": plots.GREEN},
}


def draw_deviations(axes: Axes) -> None:
    """Counted over printed MACs, in per cent; both rounding rules for GhostNet."""
    cited = {entry.id for entry in of("Table 7", "Figure 6")}
    rows: dict[str, Claim] = {}
    for claim in report.claims:
        if claim.id in cited and claim.quantity == "macs" and isinstance(claim.check, CountCheck):
            rows.setdefault(claim.row, claim)
    for place, claim in enumerate(rows.values()):
        check, print_ = claim.check, parse_printed(claim.says)
        assert isinstance(check, CountCheck)
        number, slack = float(print_.value), float(print_.unit / (1 if claim.confidence == "digitised" else 2))
        axes.barh(place, 200 * slack / number, left=-100 * slack / number, color="#d9d9d9", zorder=1)
        for rule in ("tensorflow", "pytorch") if check.model == "ghostnet" else ("",):
            network = MODELS[check.model](**check.args | ({"rounding": rule} if rule else {}))
            macs = count(network, DEFAULTS[check.model][0]).macs
            axes.plot(100 * (macs / number - 1), place, linestyle="", zorder=3, **RULES[rule])
    for rule, label in (
        ("tensorflow", "GhostNet, TensorFlow rule"),
        ("pytorch", "GhostNet, PyTorch rule"),
        ("", "others"),
    ):
        axes.plot([], [], linestyle="", label=label, **RULES[rule])
    axes.set_yticks(range(len(rows)), list(rows), fontsize=7.5)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("MACs: counted here against printed, %")
    axes.legend(loc="upper right")


figure, panels = plt.subplots(1, 2, figsize=(11.5, 4.8), width_ratios=(1.7, 1))
draw_deviations(panels[1])
draw_imagenet(panels[0])
plt.show()
note("### Table 7\n\n" + tables.section(of("Table 7")))
note("### Figure 6 (read off the figure)\n\n" + tables.section(of("Figure 6")))

# %% [markdown]
# ## Figure 7 and table 8: a phone's latency, and detection on COCO

# %%
note("### Figure 7\n\n" + tables.section(of("Figure 7")))
note("### Table 8\n\n" + tables.section(of("Table 8")))

# %% [markdown]
# ## What was trained here
#
# Lines are means over seeds, bands reach from the lowest seed to the highest. The last epoch counts; nothing was chosen
# by the test split. `mini` was run by the machine that made this notebook; of the other protocols the pinned runs are
# shown. The protocols stand in full in `papers/ghostnet/params.yaml`.

# %%
LABELS = {
    "vgg16": "VGG-16",
    "ghost-vgg16-s2": "Ghost-VGG-16, s = 2",
    "ghost-vgg16-s4": "Ghost-VGG-16, s = 4",
    "vgg16-narrow": "VGG-16, fewer channels",
}
for protocol in dict.fromkeys(check.protocol for check in report.orderings.values()):
    report.show_curves(protocol, {arm: LABELS.get(arm, arm) for arm in report.arms(protocol)})

# %% [markdown]
# Each claim about an ordering, with the criterion that was written before the run: the dot is the difference of mean
# top-1 (the first arm minus the second), the bar its 95 % interval (Welch), the black stroke the margin. A claim is
# supported when the whole bar lies to the right of its stroke, contradicted when it lies to the left.

# %%
report.show_orderings("difference of top-1, points")

# %% [markdown]
# ## Accuracy against MACs: the paper's and ours
#
# Two charts because the accuracies cannot share an axis: ImageNet, as the paper prints it, and our own runs of the
# `small` protocol on CIFAR-10 in its JPEG form (mean over seeds, error bars: one standard deviation). Both
# horizontal axes are counted by the same code. The picture of the README is this one.

# %%


def small_points() -> list[plots.Point]:
    """Our own runs: one point for each arm of the small protocol that is pinned."""
    macs = {card.arm: card.macs for card in report.current if card.protocol == "small"}
    points = []
    for arm in report.arms("small"):
        result = arm_result("ghostnet", "small", PROTOCOLS["small"], arm)
        if result is not None:
            family = "Ghost-VGG-16" if arm.startswith("ghost") else "VGG-16"
            cost = macs[arm] / MILLION
            points.append(
                plots.Point(family, LABELS.get(arm, arm), cost, result.mean, counted=True, spread=result.std or 0.0)
            )
    return points


picture, panels = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(1.5, 1))
panels[0].set_title("The paper: GhostNet on ImageNet")
panels[1].set(
    title="Here: narrow VGG-16 on CIFAR-10 (JPEG form)",
    xlabel="MACs, millions",
    ylabel="top-1, % (mean ± one standard deviation)",
)
draw_imagenet(panels[0])
ours = small_points()
plots.accuracy_against_cost(panels[1], ours)
if ours:
    panels[1].legend(loc="lower right")
else:
    panels[1].text(0.5, 0.5, "not here: no pinned run yet", ha="center", transform=panels[1].transAxes)
plots.save_png(picture, PAPER / "accuracy_vs_macs.png")
plt.show()
note(tables.verdict_line([entry for entry in report.runs if entry.protocol == "small"]))

# %% [markdown]
# ## Everything else
#
# Claims that stand in none of the places above, so that no claim is left out of this notebook.

# %%
report.show_rest()
