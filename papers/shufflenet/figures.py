# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # ShuffleNet: pointwise group convolutions and channel shuffle
#
# Zhang, Zhou, Lin and Sun, CVPR 2018, [arXiv:1707.01083](https://arxiv.org/abs/1707.01083).

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from papers.shufflenet.model import STAGE_2, Permutation, shuffle_layer, stage_channels, stem_channels
from shared.figures import plots
from shared.figures.report import Report, note
from shared.ledger import tables
from shared.ledger.counts import count_model
from shared.ledger.intervals import welch
from shared.ledger.printed import parse_printed

report = Report("shufflenet")
report.opening()

# %% [markdown]
# **The idea.** In a small network most multiply-adds are those of the 1x1 convolutions. ShuffleNet splits them into *g*
# groups, each of which sees its own part of the channels, for 1/*g* of the cost; so that the groups do not stay apart,
# the channels change places between two such convolutions: the *channel shuffle*.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Figure 1: group convolutions with and without channel shuffle
#
# Twelve channels in three groups, drawn from the layer itself: where each output channel of the first convolution (top)
# goes in the input of the second (bottom). Without shuffle (a) a group hears itself alone; after the shuffle (b) every
# group of the second convolution has channels of all. The official code shuffles the other way round (c).

# %%
GROUP_COLOURS = plots.PALETTE[:3]
CASES: dict[str, Permutation | None] = {
    "(a) without shuffle": None,
    "(b) the paper's shuffle": "paper",
    "(c) the official code's": "code",
}


def draw_shuffle(axes: Axes, channels: int, groups: int, permutation: Permutation | None) -> None:
    """Lines from the channels above to their places below, in the colour of the group they come from."""
    n = channels // groups
    layer = None if permutation is None else shuffle_layer(channels, groups, permutation)
    index = list(range(channels)) if layer is None else layer.index.tolist()
    places = np.arange(channels) + 0.8 * (np.arange(channels) // n)
    for place, source in enumerate(index):
        colour = GROUP_COLOURS[source // n]
        axes.plot([places[source], places[place]], [1, 0], color=colour, linewidth=1.2)
        axes.plot(places[source], 1.05, "s", color=colour, markersize=9)
        axes.plot(places[place], -0.05, "s", color=colour, markersize=9)
    for height, name in ((1.2, "first"), (-0.32, "second")):
        for group in range(groups):
            middle = places[group * n : group * n + n].mean()
            axes.text(middle, height, f"{name}, group {group + 1}", ha="center", fontsize=7)
    axes.set(ylim=(-0.45, 1.4))
    axes.set_axis_off()


figure, panels = plt.subplots(1, 3, figsize=(9.5, 2.1))
for axes, (title, permutation) in zip(panels, CASES.items(), strict=True):
    draw_shuffle(axes, 12, 3, permutation)
    axes.set_title(title)
plt.show()

# %% [markdown]
# How many channels each group hands to each, in the bottleneck of stage 2 at 1x with eight groups, *n* = 12 channels in
# a group. Without shuffle the units are eight networks beside each other. Since eight does not divide 12, a shuffled
# group hands two channels to four of the groups and one to the others: to which ones, paper and code do not agree. With
# three groups they always do, and are then the same network with its channels renamed.

# %%
GROUPS = 8
MIDDLE = stage_channels(GROUPS, 1.0)[0] // 4
figure, panels = plt.subplots(1, 3, figsize=(9, 3), sharey=True)
for axes, (title, permutation) in zip(panels, CASES.items(), strict=True):
    index = torch.arange(MIDDLE) if permutation is None else shuffle_layer(MIDDLE, GROUPS, permutation).index
    handed = np.zeros((GROUPS, GROUPS), dtype=int)
    np.add.at(handed, (index.numpy() // (MIDDLE // GROUPS), np.arange(MIDDLE) // (MIDDLE // GROUPS)), 1)
    axes.imshow(handed, vmin=0, vmax=3, cmap="Blues")
    for (source, target), number in np.ndenumerate(handed):
        axes.text(target, source, number or "", ha="center", va="center", color="white" if number > 1 else "black")
    axes.set(title=title, xlabel="to group", xticks=range(GROUPS), yticks=range(GROUPS), xticklabels=range(1, 9),
             yticklabels=range(1, 9))  # fmt: skip
    axes.grid(visible=False)
panels[0].set_ylabel("from group")
plt.show()

# %% [markdown]
# ## Table 1: the network
#
# Channels of the first convolution and of stages 2 to 4 here, for every number of groups and every scale of the paper.
# The paper prints those of 1x; the others are scaled, stage 2 to a multiple of 4 *g* (so that *g* divides the
# bottleneck) and doubled twice. It names one of them, 576 for 0.5x and four groups; half of table 1 would be 544.

# %%
SCALES = (0.25, 0.5, 1.0, 1.5, 2.0)
rows = [
    [f"g = {groups}", *(" - ".join(map(str, (stem_channels(groups, scale), *stage_channels(groups, scale))))
                        for scale in SCALES)]
    for groups in STAGE_2
]  # fmt: skip
note(tables.markdown_table(["", *(f"{scale:g}x" for scale in SCALES)], rows))
report.exhibit("Table 1")

# %% [markdown]
# What table 1 counts: our counts with and without the classifier, and the printed number (grey: what rounds to it).

# %%
entries = {entry.id: entry for entry in report.entries}
figure, axes = plt.subplots(figsize=(6.4, 2.8))
for place, groups in enumerate(STAGE_2):
    printed = float(parse_printed(entries[f"t1.g{groups}.macs"].says).value) / 1e6
    counted = count_model("shufflenet", "shufflenet", {"groups": groups}).macs / 1e6
    axes.fill_between([place - 0.35, place + 0.35], printed - 0.5, printed + 0.5, color="#d9d9d9")
    for value, marker, colour, label in (
        (counted, "o", plots.VERMILION, "counted, whole network"),
        (counted - 4 * STAGE_2[groups] * 1000 / 1e6, "D", plots.BLUE, "counted, without the classifier"),
    ):
        axes.plot(place, value, marker, color=colour, label=label if place == 0 else None)
axes.set(xticks=range(len(STAGE_2)), xticklabels=[f"g = {groups}" for groups in STAGE_2], ylabel="multiply-adds, M")
axes.legend()
plt.show()

# %% [markdown]
# ## Table 2: more groups, more channels at the same cost

# %%
report.exhibit("Table 2")

# %% [markdown]
# The printed errors. More groups help the narrow networks more; whether four or eight are best depends on the width.

# %%
figure, panels = plt.subplots(1, 3, figsize=(9.5, 2.6), sharex=True)
for axes, name in zip(panels, ("1x", "0.5x", "0.25x"), strict=True):
    errors = [float(entries[f"t2.{name}.g{groups}.error"].says) for groups in STAGE_2]
    axes.plot(range(len(STAGE_2)), errors, marker="o", color=plots.BLUE)
    axes.set(title=f"ShuffleNet {name}", xlabel="groups", xticks=range(len(STAGE_2)), xticklabels=STAGE_2)
panels[0].set_ylabel("ImageNet top-1 error, % (printed)")
plt.show()

# %% [markdown]
# ## Table 3: with and without channel shuffle
#
# The paper's point. Both networks of a pair have the same weights to train and the same multiply-adds.

# %%
report.exhibit("Table 3")

# %% [markdown]
# The runs behind the orderings: lines are means over seeds, bands reach from the lowest seed to the highest. The last
# epoch counts; nothing was chosen by the test split.

# %%
LABELS = {
    "g8": "eight groups, shuffled",
    "g8-unshuffled": "eight groups, not shuffled",
    "g3": "three groups, shuffled",
    "g3-unshuffled": "three groups, not shuffled",
}
report.show_curves("small", LABELS)

# %%
report.show_curves("gpu", LABELS)

# %% [markdown]
# The gain by shuffling, the paper's beside ours: points of top-1 on ImageNet (bars, printed) and on CIFAR-10 (markers,
# with the 95 % interval).

# %%
figure, axes = plt.subplots(figsize=(7.2, 3))
WHERE = ("0.25x", "0.5x", "1x")
for number, groups in enumerate((3, 8)):
    gains = [float(entries[f"t3.{name}.g{groups}.gain"].says) for name in WHERE]
    shift = 0.38 * number - 0.19
    axes.bar(np.arange(3) + shift, gains, 0.36, color=plots.PALETTE[number], alpha=0.45,
             label=f"{groups} groups, ImageNet (printed)")  # fmt: skip
    for protocol, place in (("small", 0), ("gpu", 2)):
        pair = [report.result(protocol, arm) for arm in (f"g{groups}", f"g{groups}-unshuffled")]
        if any(one is None for one in pair):
            continue
        gap = welch(*(list(one.values.values()) for one in pair if one))
        axes.errorbar(place + shift, gap.mean, [[gap.mean - gap.low], [gap.high - gap.mean]], marker="D", capsize=4,
                      color=plots.PALETTE[number], label=f"{groups} groups, {report.scale(protocol)}")  # fmt: skip
axes.set(xticks=range(3), xticklabels=WHERE, ylabel="gain by shuffling, points")
axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
plt.show()

# %% [markdown]
# ## Table 4: against other units

# %%
report.exhibit("Table 4")

# %% [markdown]
# The printed errors, unit by unit. At 38 M section 4.2 names the channels of stage 4: 50, 192, 192, 288 and 576. With a
# projection as the first units' shortcut, which the paper does not speak of, the three networks built here count 38 M.

# %%
COSTS = ("140m", "38m", "13m")
SOURCES = {
    "VGG-like": [f"t4.vgg.{cost}" for cost in COSTS],
    "ResNet": [f"t4.resnet.{cost}" for cost in COSTS],
    "Xception-like": ["t2.1x.g1", "t2.0.5x.g1", "t2.0.25x.g1"],
    "ResNeXt": [f"t4.resnext.{cost}" for cost in COSTS],
    "ShuffleNet": ["t2.1x.g8", "t2.0.5x.g4", "t2.0.25x.g8"],
}
figure, axes = plt.subplots(figsize=(7.2, 3))
for number, (name, ids) in enumerate(SOURCES.items()):
    errors = [
        float(entries[f"{identity}.error"].says) if f"{identity}.error" in entries else np.nan for identity in ids
    ]
    axes.bar(np.arange(3) + 0.16 * (number - 2), errors, 0.15, color=plots.PALETTE[number], label=name)
axes.set(xticks=range(3), xticklabels=["140 M", "38 M", "13 M"], ylabel="ImageNet top-1 error, % (printed)")
axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
plt.show()

# %% [markdown]
# ## Table 5: against MobileNet
#
# Left: accuracies as printed, multiply-adds counted on the networks built here. Right: our own runs, mean over seeds,
# error bars one standard deviation. The picture of the README is this one.

# %%
FAMILIES = ("ShuffleNet", "MobileNet")
TICKS = (40, 80, 160, 320, 640)
printed_points = []
for entry in report.of("Table 5"):
    if entry.quantity == "macs" and entry.ours is not None:
        accuracy = 100 - float(entries[entry.id.replace(".macs", ".error")].says)
        family = "MobileNet" if "MobileNet" in entry.row else "ShuffleNet"
        label = entry.row.removesuffix(" MobileNet-224").removeprefix("ShuffleNet ")
        cost = float(parse_printed(entry.ours).value) / 1e6
        printed_points.append(plots.Point(family, label, cost, accuracy, counted=True))
own = report.points("small", {arm: (label, "") for arm, label in LABELS.items()}, "macs", 1e6)

picture, panels = plt.subplots(1, 2, figsize=(12, 4.4), width_ratios=(1.5, 1))
panels[0].set(title="The paper: ImageNet", xlabel="multiply-adds, M (counted here)", ylabel="top-1, % (printed)")
panels[0].set_xscale("log")
panels[0].set_xticks(TICKS, [str(tick) for tick in TICKS])
panels[0].minorticks_off()
panels[1].set(title=f"Here: ShuffleNet 0.25x, {report.scale('small')}", xlabel="multiply-adds, M", ylabel="top-1, %")
plots.accuracy_against_cost(panels[0], printed_points, joined=FAMILIES)
plots.accuracy_against_cost(panels[1], own, legend="best")
plots.save_png(picture, report.folder / "accuracy_vs_macs.png")
plt.show()
report.exhibit("Table 5")

# %% [markdown]
# ## Table 6: against large networks of the same accuracy

# %%
report.exhibit("Table 6")
report.place("Section 4.2")

# %% [markdown]
# ## Table 8: latency on a phone
#
# Printed latencies against printed multiply-adds.

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.4))
latencies = {entry.id: entry for entry in report.of("Table 8")}
MACS = {"t8.0.5x.g3": "t2.0.5x.g3", "t8.1x.g3": "t2.1x.g3", "t8.2x.g3": "t5.2x.g3", "t8.alexnet": "t6.alexnet",
        "t8.mobilenet.1.0": "t5.mobilenet.1.0"}  # fmt: skip
NAMED = {"at224": "224 x 224", "at480": "480 x 640", "at720": "720 x 1280"}
for number, (key, label) in enumerate(NAMED.items()):
    costs = [float(parse_printed(entries[f"{macs}.macs"].says).value) / 1e6 for macs in MACS.values()]
    times = [float(latencies[f"{row}.{key}"].says) for row in MACS]
    axes.plot(costs[:3], times[:3], "-o", color=plots.PALETTE[number], label=f"ShuffleNet, {label}")
    axes.plot(costs[3:4], times[3:4], "s", color=plots.PALETTE[number], label="AlexNet" if number == 0 else None)
    axes.plot(costs[4:], times[4:], "^", color=plots.PALETTE[number], label="MobileNet" if number == 0 else None)
axes.set(xscale="log", yscale="log", xlabel="multiply-adds at 224 x 224, M (printed)", ylabel="latency, ms (printed)")
axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
axes.minorticks_off()
axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
plt.show()
slow, fast = (float(latencies[f"t8.{row}.at224"].says) for row in ("alexnet", "0.5x.g3"))
large, small = (float(parse_printed(entries[f"{row}.macs"].says).value) for row in ("t6.alexnet", "t2.0.5x.g3"))
note(
    f"ShuffleNet 0.5x against AlexNet at 224 x 224, by the printed numbers: {large / small:.0f} times fewer "
    f"multiply-adds, {slow / fast:.0f} times faster."
)
report.exhibit("Table 8")

# %% [markdown]
# ## Beside the exhibits
#
# Claims that stand in no exhibit that is made, so that none is left out of this notebook.

# %%
report.rest()

# %% [markdown]
# ## What we learned

# %%
report.learned()
