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
# # ECA-Net: efficient channel attention
#
# Wang, Wu, Zhu, Li, Zuo and Hu, CVPR 2020, [arXiv:1910.03151](https://arxiv.org/abs/1910.03151).
#
# **The idea.** Channel attention multiplies each channel of a layer by a weight between 0 and 1, computed from the
# channels' means. Squeeze-and-excitation (SE) does so by two fully connected layers with fewer channels between them.
# ECA needs no such reduction: a one-dimensional convolution of *k* weights over the channels, shared by all of them.
#
# **How to read a verdict.** A number that can be counted is built and counted here: `exact` when ours rounds to what is
# printed, `deviates` otherwise, always with the reason; what a test shows is `within`. A number that is the outcome of
# training is never compared with a smaller run: from those only an *ordering* is judged, by a criterion written before
# the run: `supported`, `contradicted` or `inconclusive`. What was not done is `not attempted`, with the command that
# would do it where there is one.
#
# **Units.** The paper divides parameters by 2^20 and FLOPs by 2^30, and its FLOPs are what a tool counted; so are ours
# beside them. Table 5 is in millions and billions, and by another tool. The rules: shared/measure/conventions.py.
#
# This notebook reads results; it trains nothing.

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import nn

from papers.eca_net.model import PUBLISHED, ChannelAttention, kernel_size, kernel_sizes
from shared import datasets
from shared.figures import maps, plots
from shared.figures.report import Report, note
from shared.ledger import Entry, tables
from shared.ledger.evidence import arm_result
from shared.ledger.judge import count_model, tool_count
from shared.ledger.printed import parse_printed

report = Report("eca_net")
PAPER, PROTOCOLS = report.folder, report.protocols


def of(*places: str) -> list[Entry]:
    """The claims that stand in `places`, without those of runs: they have a section of their own."""
    return [entry for entry in report.of(*places) if entry.check != "run"]


note(tables.verdict_line(report.entries) + "\n\n" + tables.overview(report.entries))

# %% [markdown]
# ## What "FLOPs" are in tables 3 and 4
#
# Four ways to count the same networks. Multiply-adds alone, in the usual units or divided by 2^30, give none of the
# printed numbers; thop's rules of 2019, divided by 2^30, give them all.

# %%
GIBI, GIGA = 2**30, 10**9
printed = {entry.id: entry.says for entry in report.entries if entry.quantity == "macs"}
ROWS = {
    "eca_resnet18": "code.eca-resnet18.macs",
    "eca_resnet34": "code.eca-resnet34.macs",
    "resnet50": "t3.resnet-50.none.macs",
    "se_resnet50": "t3.resnet-50.se.macs",
    "eca_resnet50": "t3.resnet-50.eca.macs",
    "resnet101": "t3.resnet-101.none.macs",
    "se_resnet101": "t3.resnet-101.se.macs",
    "eca_resnet101": "t3.resnet-101.eca.macs",
    "resnet152": "t3.resnet-152.none.macs",
    "se_resnet152": "t3.resnet-152.se.macs",
    "eca_resnet152": "t3.resnet-152.eca.macs",
}
rows = []
for model, identity in ROWS.items():
    macs, operations = count_model("eca_net", model, {}).macs, tool_count("eca_net", model, {}, "thop").macs
    ways = (macs / GIGA, macs / GIBI, operations / GIGA, operations / GIBI)
    rows.append([model, printed[identity], *(f"{value:.3f}" for value in ways)])
note(
    tables.markdown_table(
        ["network", "printed", "multiply-adds / 10^9", "multiply-adds / 2^30", "thop / 10^9", "thop / 2^30"], rows
    )
)

# %% [markdown]
# ## Table 2: what the map from means to weights needs
#
# All on ResNet-50. The formulas of the parameters were checked for many channel counts.

# %%
note(tables.section(of("Table 2")))

# %% [markdown]
# ## Tables 3 and 4, figure 1: ImageNet
#
# The accuracies are the paper's, none was measured here. The parameters are counted on the networks built here where we
# build them (filled markers) and as printed otherwise (hollow).

# %%
FAMILIES = {"ResNet": "ResNet", "SENet": "SENet", "ECA-Net": "ECA-Net", "CBAM": "CBAM"}


def points() -> list[plots.Point]:
    """The networks of table 3 on ResNets: accuracy as printed against parameters in units of 2^20."""
    cells = {(entry.row, entry.quantity): entry for entry in of("Table 3")}
    found = []
    for (row, quantity), accuracy in cells.items():
        if quantity != "top1" or "MobileNet" in row:
            continue
        method, _, backbone = row.removesuffix(")").partition(" (")
        params = cells[row, "params"]
        cost = float(parse_printed(params.ours or params.says, binary=True).value) / 2**20
        depth = backbone.removeprefix("ResNet-")
        label = depth if method in FAMILIES else f"{method} {depth}"
        family = FAMILIES.get(method, "others")
        found.append(plots.Point(family, label, cost, float(accuracy.says), params.ours is not None))
    order = [*FAMILIES, "others"]
    return sorted(found, key=lambda point: order.index(point.family))


def draw_imagenet(axes: Axes) -> None:
    """Figure 1: accuracy as printed against parameters as counted."""
    plots.accuracy_against_cost(axes, points(), joined=tuple(FAMILIES))
    axes.set(
        title="The paper: ImageNet",
        xlabel="parameters, $2^{20}$ (filled: counted here; hollow: as printed)",
        ylabel="ImageNet top-1, % (printed)",
    )
    axes.legend(loc="lower right")


figure, axes = plt.subplots(figsize=(7.5, 4.2))
draw_imagenet(axes)
plt.show()
note("### Table 3\n\n" + tables.section(of("Table 3")))
note("### Table 4\n\n" + tables.section(of("Table 4")))
note("### The official code's page\n\n" + tables.section(of("Official code")))

# %% [markdown]
# ## Section 3.3 and figure 4: the kernel size
#
# Equation 12 gives the odd number nearest to |log2(C) / 2 + 1 / 2|. Left: that line, the sizes it gives, and the sizes
# that the authors trained with, at the channels that the modules of each network see. Table: the sizes stage by stage.
#
# Figure 4 of the paper shows ImageNet accuracy for *k* = 3, 5, 7 and 9, without numbers. Read off it, the best fixed
# size is 9 for ResNet-50 and 5 for ResNet-101, and the sizes lie within about 0.15 and 0.5 points of one another.
# Trained here is *k* = 3 alone, which equation 12 gives for 8 to 64 channels.

# %%
BASIC, BOTTLENECK = (64, 128, 256, 512), (256, 512, 1024, 2048)
powers = 2 ** np.arange(4, 12)
figure, axes = plt.subplots(figsize=(5.6, 3.4))
axes.plot(powers, (np.log2(powers) + 1) / 2, color=plots.GREY, linestyle=":", label="before rounding")
axes.plot(powers, [kernel_size(int(c)) for c in powers], "o", color=plots.BLUE, label="equation 12")
for number, (depth, sizes) in enumerate(PUBLISHED.items()):
    seen = BASIC if depth < 50 else BOTTLENECK
    marker, colour = plots.MARKERS[number + 1], plots.PALETTE[number + 1]
    shift = 1.06 ** (number - 2)  # so that equal points stand side by side
    axes.plot(np.array(seen) * shift, [int(k) for k in sizes], marker, color=colour, fillstyle="none",
              label=f"ECA-Net{depth}")  # fmt: skip
axes.set_xscale("log", base=2)
axes.set(xlabel="channels C that the module sees", ylabel="kernel size k", yticks=(1, 3, 5, 7))
axes.legend(ncols=2)
plt.show()
rows = []
for depth, sizes in PUBLISHED.items():
    seen = BASIC if depth < 50 else BOTTLENECK
    rules = [", ".join(map(str, kernel_sizes(rule, seen, BASIC).values())) for rule in ("adaptive", "adaptive-planes")]
    rows.append([f"ECA-Net{depth}", ", ".join(sizes), *rules])
note(tables.markdown_table(["network", "published", "equation 12 of the channels", "of the nominal width"], rows))

# %% [markdown]
# ## Tables 5 and 6: detection and instance segmentation on COCO

# %%
note("### Table 5\n\n" + tables.section(of("Table 5")))
note("### Table 6\n\n" + tables.section(of("Table 6")))

# %% [markdown]
# ## What was trained here
#
# Lines are means over seeds, bands reach from the lowest seed to the highest. The last epoch counts; nothing was chosen
# by the test split. `mini` was run by the machine that made this notebook; of the other protocols the pinned runs are
# shown. The protocols stand in full in `papers/eca_net/params.yaml`.

# %%
LABELS = {"none": "without attention", "se": "SE", "eca": "ECA"}
for protocol in dict.fromkeys(check.protocol for check in report.orderings.values()):
    report.show_curves(protocol, {arm: LABELS[arm] for arm in PROTOCOLS[protocol].arms})

# %% [markdown]
# Each claim about an ordering, with the criterion that was written before the run: the dot is the difference of mean
# top-1, of mean AP for detectors (the first arm minus the second), the bar its 95 % interval (Welch), the black stroke
# the margin. A claim is supported when the whole bar lies to the right of its stroke, contradicted when it lies to the
# left.

# %%
report.show_orderings("difference of top-1 or AP, points")

# %% [markdown]
# ## The weights of the channels
#
# What the last module of each stage gives for two photographs that scikit-learn ships, their central squares at
# 32 x 32 pixels, in pinned networks of the `small` protocol (seed 0). Where the two lines part, the weight depends on
# the image.
# The paper's supplement has pictures of this kind, of ImageNet classes, without numbers (recalled).

# %%
PICTURES = ("china.jpg", "flower.jpg")


def weights(network: nn.Module, data: str) -> list[np.ndarray]:
    """omega of the last module of each stage, (pictures, C)."""
    spec = datasets.spec(data)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
    images = torch.stack([(maps.sample_picture(name, spec.shape[1]) / 255 - mean) / std for name in PICTURES])
    modules = [module for module in network.modules() if isinstance(module, ChannelAttention)]
    last = modules[len(modules) // 3 - 1 :: len(modules) // 3]
    return [torch.sigmoid(logits).numpy() for logits in maps.catch(network, [module.mix for module in last], images)]


for arm in ("eca", "se"):
    loaded = report.checkpoint(f"{arm}-small-0")
    if loaded is None:
        continue
    network, card = loaded
    figure, panels = plt.subplots(1, 3, figsize=(9.5, 2.6), sharey=True)
    for stage, (axes, omega) in enumerate(zip(panels, weights(network, card.data), strict=True), start=1):
        for name, values in zip(PICTURES, omega, strict=True):
            axes.plot(np.arange(1, len(values) + 1), values, marker=".", label=name)
        axes.set(title=f"{LABELS[arm]}, stage {stage}", xlabel="channel", ylim=(0, 1))
    panels[0].set_ylabel("weight")
    panels[0].legend()
    plt.show()

# %% [markdown]
# ## Accuracy against parameters: the paper's and ours
#
# Two charts because the accuracies cannot share an axis: ImageNet, as the paper prints it, and our own runs of the
# `small` protocol on CIFAR-10 in its JPEG form (mean over seeds, error bars: one standard deviation). The picture of
# the README is this one.

# %%


def small_points() -> list[plots.Point]:
    """Our own runs: one point for each arm of the small protocol that is pinned."""
    params = {card.arm: card.params for card in report.current if card.protocol == "small"}
    found = []
    for arm, label in LABELS.items():
        result = arm_result("eca_net", "small", PROTOCOLS["small"], arm)
        if result is not None:
            found.append(plots.Point(label, "", params[arm] / 1e3, result.mean, counted=True, spread=result.std or 0.0))
    return found


picture, panels = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(1.5, 1))
draw_imagenet(panels[0])
panels[1].set(
    title="Here: narrow ResNet-20 on CIFAR-10 (JPEG form)",
    xlabel="parameters, thousands",
    ylabel="top-1, % (mean ± one standard deviation)",
)
ours = small_points()
plots.accuracy_against_cost(panels[1], ours)
if ours:
    panels[1].legend(loc="lower right")
else:
    panels[1].text(0.5, 0.5, "not here: no pinned run yet", ha="center", transform=panels[1].transAxes)
plots.save_png(picture, PAPER / "accuracy_vs_parameters.png")
plt.show()

# %% [markdown]
# ## Everything else
#
# Claims that stand in none of the places above, so that no claim is left out of this notebook.

# %%
report.show_rest()
