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
# # DenseNet: densely connected convolutional networks
#
# Huang, Liu, van der Maaten and Weinberger, CVPR 2017, [arXiv:1608.06993](https://arxiv.org/abs/1608.06993).

# %%
from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from papers.densenet.model import IMAGENET_LAYERS, densenet
from papers.densenet.reuse import feature_reuse
from shared import datasets
from shared.figures import plots
from shared.figures.report import Report, note
from shared.ledger import tables
from shared.ledger.counts import count_model
from shared.ledger.printed import parse_printed
from shared.measure.cost import peak_memory

report = Report("densenet")
report.opening()

# %% [markdown]
# **The idea.** Every layer of a *dense block* reads what all layers before it in the block have written, and adds *k*
# channels of its own (the *growth rate*). *B* puts a 1x1 convolution to 4 *k* channels before each 3x3 convolution, *C*
# lets a transition between blocks keep half of the channels; a DenseNet-BC has both.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Table 1: the networks for ImageNet
#
# Dense layers in each of the four blocks, and what we count: parameters, and multiply-adds (MACs) of one image of
# 224 x 224 pixels.

# %%
MILLION, BILLION = 1e6, 1e9
networks = {f"DenseNet-{depth}": f"densenet{depth}" for depth in IMAGENET_LAYERS}
networks |= {f"ResNet-{depth}": f"resnet{depth}" for depth in (34, 50, 101, 152)}
counted = {name: count_model("densenet", model, {}) for name, model in networks.items()}
rows = []
for depth, layers in IMAGENET_LAYERS.items():
    found = counted[f"DenseNet-{depth}"]
    growth = 48 if depth == 161 else 32
    size = [f"{found.params / MILLION:.2f} M", f"{found.macs / BILLION:.2f} G"]
    rows.append([f"DenseNet-{depth}", growth, ", ".join(map(str, layers)), *size])
note(tables.markdown_table(["network", "k", "layers of the blocks", "parameters", "MACs"], rows))

# %% [markdown]
# ## Table 2: CIFAR and SVHN

# %%
report.exhibit("Table 2")
report.place("Section 3")

# %% [markdown]
# ## Table 3: ImageNet

# %%
report.exhibit("Table 3")

# %% [markdown]
# ## Figure 3: parameters and multiply-adds against the error on ImageNet
#
# Errors are those of table 3 (top-1, one crop), the horizontal places are counted here. The paper's figure has the
# errors of ResNets too, which it prints nowhere; dotted lines show where the ResNets stand on the horizontal axes.

# %%
errors = {entry.row.partition(" (")[0].partition(",")[0]: float(entry.says) for entry in report.of("Table 3")
          if "top-1 of one crop" in entry.row}  # fmt: skip
_, panels = plt.subplots(1, 2, figsize=(10.5, 3.8), sharey=True)
for axes, quantity, unit, label in (
    (panels[0], "params", MILLION, "parameters, millions"),
    (panels[1], "macs", BILLION, "multiply-adds, billions"),
):
    costs = {name: getattr(found, quantity) / unit for name, found in counted.items()}
    axes.set(xlabel=label, ylim=(21.7, 25.6))
    for name, cost in costs.items():
        if name.startswith("ResNet"):
            axes.axvline(cost, color=plots.GREY, linestyle=":", linewidth=1)
            axes.text(cost, 25.55, f" {name}", rotation=90, va="top", ha="right", fontsize=7.5, color=plots.GREY)
    plots.accuracy_against_cost(
        axes, [plots.Point("DenseNet-BC" if "161" not in name else "DenseNet-BC, k = 48", name.partition("-")[2],
                           costs[name], error, counted=True) for name, error in errors.items()],
        joined=("DenseNet-BC",), legend="best",
    )  # fmt: skip
panels[0].set_ylabel("top-1 error, % (printed)")
plt.show()
report.exhibit("Figure 3")

# %% [markdown]
# ## Figure 4: how much accuracy a parameter buys
#
# Two charts because the errors cannot share an axis. Left: CIFAR-10 with augmentation, the errors are the paper's
# (table 2 and the official page), the parameters are counted on the networks built here (filled markers) or as printed
# (hollow). Right: our own runs, mean over seeds, error bars one standard deviation. The picture of the README is this
# one. The paper draws its left and middle panels from trainings that no table prints.

# %%
FAMILIES = {
    "DenseNet-BC": "DenseNet-BC",
    "Wide DenseNet-BC": "DenseNet-BC",
    "DenseNet": "DenseNet",
    "Pre-activation ResNet": "pre-activation ResNet",
    "ResNet": "ResNet",
    "Wide ResNet": "Wide ResNet",
    "FractalNet": "FractalNet",
}
ARMS = {"densenet-bc": "DenseNet-BC", "densenet-basic": "DenseNet", "preact-resnet": "pre-activation ResNet"}


def printed_points() -> list[plots.Point]:
    """Networks with a printed size and a printed error on C10+."""
    sizes = {entry.row: entry for entry in report.entries if entry.quantity == "params"}
    found = []
    for entry in report.entries:
        name, _, column = entry.row.rpartition(", ")
        dense = re.fullmatch(r"((?:Wide )?DenseNet(?:-BC)?)-(\d+) \(k=(\d+)\)", name)
        family, label = (dense[1], f"{dense[2]}, {dense[3]}") if dense else (name.partition(" (")[0], "")
        if column == "C10+" and name in sizes and family in FAMILIES:
            size = sizes[name]
            cost = float(parse_printed(size.ours or size.says).value) / MILLION
            found.append(plots.Point(FAMILIES[family], label, cost, float(entry.says), size.ours is not None))
    return found


picture, panels = plt.subplots(1, 2, figsize=(12, 4.6), width_ratios=(1.9, 1))
panels[0].set(
    title="The paper: CIFAR-10 with augmentation (labels: depth, growth)",
    xlabel="parameters, millions (filled: counted here; hollow: as printed)",
    ylabel="error, % (printed)",
)
panels[1].set(
    title=f"Here: {report.scale('small')}",
    xlabel="parameters, thousands",
    ylabel="error, % (mean ± one standard deviation)",
)
plots.accuracy_against_cost(
    panels[0], printed_points(), families=tuple(FAMILIES.values()), joined=("DenseNet-BC", "DenseNet"), legend="best"
)
own = report.points("small", {arm: (label, "") for arm, label in ARMS.items()}, "params", 1e3)
ours = [replace(point, accuracy=100 - point.accuracy) for point in own]
plots.accuracy_against_cost(panels[1], ours, legend="best")
plots.save_png(picture, report.folder / "error_vs_parameters.png")
plt.show()
report.exhibit("Figure 4")

# %% [markdown]
# Equal parameters are not equal work: in a dense block a weight is used at every place of a large map, and the
# DenseNet-BC of the small protocol computes about three times as much as the ResNet beside it.

# %%
rows = []
for protocol in ("small", "gpu"):
    for arm, label in ARMS.items():
        stated = report.protocols[protocol].arms[arm]
        cost = count_model("densenet", stated.builder, stated.args)
        rows.append([protocol, label, f"{cost.params:,}", f"{cost.macs / MILLION:.1f} M"])
note(tables.markdown_table(["protocol", "network", "parameters", "MACs"], rows))

# %% [markdown]
# The right panel of the paper's figure has the learning curves of two networks; these are ours: lines are means over
# seeds, bands reach from the lowest seed to the highest. The last epoch counts; nothing was chosen by the test split.

# %%
report.show_curves("small", ARMS)

# %% [markdown]
# ## Figure 5: which of the earlier features a layer uses
#
# As in the paper, the colour of a square is the mean absolute weight with which a layer (column) reads what an earlier
# one has written (row); the first row is what enters the block, and the last column the transition or the classifier.
# Convolutions of other sizes begin with weights of other sizes, so that the second row of pictures has each weight as a
# multiple of what it was on average before training: above 1 it grew. The colours span what the dense layers have; a
# transition or a classifier may lie beyond. The paper's network has 40 layers and 300 epochs behind it; ours is smaller
# and younger, so that the pictures show the method more than the finding.

# %%
READERS = ("transition", "transition", "classifier")


def heat_map(axes: Axes, block: np.ndarray, title: str, last: str, **colours: Any) -> Any:
    """One block: sources down, readers across."""
    image = axes.imshow(np.ma.masked_invalid(block), cmap="viridis", **colours)
    names = [*map(str, range(1, len(block))), last]
    axes.set_xticks(range(len(names)), names, fontsize=7)
    axes.set_yticks(range(len(block)), ["input", *map(str, range(1, len(block)))], fontsize=7)
    axes.grid(visible=False)
    axes.set_title(title)
    return image


for name in report.paper.keep:
    loaded = report.checkpoint(name) if name.startswith("densenet-basic") else None
    if loaded is None:
        continue
    network, card = loaded
    note(f"**{name}**, trained on {datasets.spec(card.data).title}:")
    figure, grid = plt.subplots(2, 3, figsize=(9.5, 6))
    for line, (relative, label) in zip(grid, ((False, "mean |w|"), (True, "mean |w| / its start")), strict=True):
        blocks = [block.numpy() for block in feature_reuse(network, relative=relative)]  # type: ignore[arg-type]
        convolutions = np.concatenate([block[:, :-1].ravel() for block in blocks])
        lowest, highest = np.nanmin(convolutions), np.nanmax(convolutions)
        for number, (axes, block, last) in enumerate(zip(line, blocks, READERS, strict=True), start=1):
            image = heat_map(axes, block, f"block {number}, {label}", last, vmin=lowest, vmax=highest)
            axes.set_xlabel("reader")
        line[0].set_ylabel("source")
        figure.colorbar(image, ax=list(line), shrink=0.85, extend="both")
    plt.show()

# %% [markdown]
# ## Beside the exhibits: the memory of a training step
#
# A plain implementation keeps every concatenation and every normalised copy of it for the backward pass: memory grows
# with the square of the depth. With `memory_efficient=True` they are computed again instead. Measured here on the CPU:
# the bytes that are live at once, at most, in a forward and a backward pass of two images, without the weights.

# %%
DEPTHS = (22, 40, 58, 76, 100)
used = {
    again: [
        peak_memory(densenet(depth, 12, True, 0.5, memory_efficient=again), (3, 32, 32), batch=2, training=True) / 2**20
        for depth in DEPTHS
    ]
    for again in (False, True)
}
_, axes = plt.subplots(figsize=(5.6, 3.4))
axes.plot(DEPTHS, used[False], "o-", label="plain")
axes.plot(DEPTHS, used[True], "s-", label="computed again")
axes.set(xlabel="depth of DenseNet-BC (k = 12)", ylabel="MiB, 2 images", ylim=(0, None), xticks=DEPTHS)
axes.legend()
plt.show()
levels = [float(entry.says) for entry in report.of("Official code") if entry.id.startswith("code.memory-")
          and entry.quantity == "memory_mb"]  # fmt: skip
note(
    f"At depth 100, computing again needs {used[True][-1] / used[False][-1]:.2f} of the memory; the authors' level 4 "
    f"needs {levels[-1] / levels[0]:.2f} of their level 0, all memory of the GPU taken together."
)
report.place("Official code")

# %% [markdown]
# A DenseNet-BC that others trained, on the 10,000 test images of CIFAR-10 (`python -m papers.densenet.upstream`). The
# paper's own has an error of 4.51 %.

# %%
report.published()

# %% [markdown]
# Claims that stand in no exhibit that is made, so that none is left out of this notebook.

# %%
report.rest()

# %% [markdown]
# ## What we learned

# %%
report.learned()
