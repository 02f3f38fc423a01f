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
# # Wide residual networks
#
# Zagoruyko and Komodakis, BMVC 2016, [arXiv:1605.07146](https://arxiv.org/abs/1605.07146).

# %%
from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import nn

from papers.wide_resnet.model import WideBlock, WideResNet, wrn, wrn_deepening
from shared.figures import plots
from shared.figures.report import Report, note
from shared.files import ROOT, read_json
from shared.ledger import Entry, tables
from shared.ledger.printed import parse_printed
from shared.measure import count

report = Report("wide_resnet")
report.opening()

# %% [markdown]
# **The idea.** A residual network with a thousand layers trains, and each layer adds little. The paper goes the other
# way: few blocks, many channels. WRN-*n*-*k* has *n* convolutions and *k* times the channels of the thin network. With
# 16 layers it is more accurate than a thin one with a thousand, and at equal parameters it trains faster, for a
# processor works on many channels at once and on layers one by one.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Table 1: the architecture
#
# WRN-28-10 as it is built here; where its parameters and multiply-adds (MACs) are.

# %%


def parts(network: WideResNet, shape: tuple[int, int, int]) -> list[list[Any]]:
    """Of the stem, each group and the classifier: output, blocks, and the shares of parameters and MACs."""
    whole = count(network, shape)
    stages: dict[str, nn.Module] = {
        "stem": network.stem,
        **{f"group {n + 1}": group for n, group in enumerate(network.groups)},
    }
    rows, x = [], torch.empty(1, *shape, device="meta")
    for name, stage in stages.items():
        found, x = count(stage, (x.shape[1], x.shape[2], x.shape[3])), stage(x)
        blocks = sum(isinstance(layer, WideBlock) for layer in stage.modules())
        inside = f"{blocks} x B(3,3)" if blocks else "one 3 x 3"
        shares = [f"{found.params / whole.params:.1%}", f"{found.macs / whole.macs:.1%}"]
        rows.append([name, f"{x.shape[2]} x {x.shape[3]}", x.shape[1], inside, *shares])
    rest = sum(p.numel() for part in (network.act, network.classifier) for p in part.parameters())
    linear = network.classifier.weight.numel()
    rows.append(["classifier", "1 x 1", 10, "mean, linear", f"{rest / whole.params:.1%}", f"{linear / whole.macs:.1%}"])
    return rows


with torch.device("meta"):
    rows = parts(wrn(28, 10).eval(), (3, 32, 32))
note(tables.markdown_table(["", "output", "channels", "made of", "parameters", "MACs"], rows))

# %% [markdown]
# ## Table 2: what a block is made of
#
# B(*M*) is a block with a convolution for each kernel size in *M*; *k* = 2. The sizes come out if the depth is read
# as a label: (depth - 4) / 6 blocks a group, whatever a block has inside.

# %%
report.exhibit("Table 2")

# %% [markdown]
# ## Table 3: how many convolutions a block needs
#
# *l* convolutions of 3 x 3 in a block, 36 in all. The networks have the same parameters to the last one: a group's
# convolutions are the same, and what differs is where a shortcut passes them by.

# %%
report.exhibit("Table 3")

rows = []
for deepening in (1, 2, 3, 4):
    with torch.device("meta"):
        network = wrn_deepening(deepening)
    found = count(network, (3, 32, 32))
    blocks = sum(isinstance(layer, WideBlock) for layer in network.modules())
    rows.append([f"l = {deepening}", blocks // 3, f"{found.params:,}", f"{found.macs:,}"])
note(tables.markdown_table(["", "blocks a group", "parameters", "MACs"], rows))

# %% [markdown]
# ## Table 4: depth and width
#
# The errors are the paper's, the parameters are counted on the networks built here. Along a line the width grows.

# %%
report.exhibit("Table 4")


SIZES = (0.5, 1, 2, 5, 10, 20, 50)  # millions, on axes of sizes


def cells(place: str) -> dict[tuple[str, str], Entry]:
    """The claims of a table by row and column."""
    return {(entry.row, entry.quantity): entry for entry in report.of(place)}


def millions(entry: Entry) -> float:
    """Parameters: ours where they were counted, else as printed."""
    return float(parse_printed(entry.ours or entry.says).value) / 1e6


def grid(axes: Axes, data: str) -> None:
    """Table 4 as a chart: printed error against counted parameters, a line for each depth."""
    found = cells("Table 4")
    points = []
    for (row, quantity), size in found.items():
        error = found.get((f"{row}, {data}", "error"))
        if quantity == "params" and error is not None:
            _, depth, width = row.split("-")
            points.append(plots.Point(f"depth {depth}", f"k = {width}", millions(size), -float(error.says), True))
    points.sort(key=lambda point: (point.family, point.cost))
    axes.set(title=data, xlabel="parameters, millions (counted here)", xscale="log")
    plots.accuracy_against_cost(axes, points, joined=tuple({point.family for point in points}), legend="lower right")
    axes.yaxis.set_major_formatter(lambda value, _: f"{-value:g}")
    axes.set_xticks(SIZES, [f"{size:g}" for size in SIZES])
    axes.minorticks_off()


_, panels = plt.subplots(1, 2, figsize=(11, 4.2))
for axes, data in zip(panels, ("CIFAR-10", "CIFAR-100"), strict=True):
    grid(axes, data)
panels[0].set_ylabel("test error, % (printed; better is up)")
plt.show()

# %% [markdown]
# ## Table 5: wide against thin
#
# Left: the paper's table; hollow markers are sizes as printed, of networks that are not built here or that deviate.
# Right: our own runs, mean over seeds, error bars one standard deviation. The picture of the README is this one.

# %%
report.exhibit("Table 5")


def rivals() -> list[plots.Point]:
    """Table 5's residual networks on CIFAR-10."""
    found, points = cells("Table 5"), []
    for (row, quantity), size in found.items():
        error = found.get((f"{row}, CIFAR-10", "error"))
        if quantity == "params" and error is not None:
            wide = row.startswith("WRN")
            holds = size.verdict == "exact"
            cost = millions(size) if holds else float(parse_printed(size.says).value) / 1e6
            points.append(plots.Point("wide" if wide else "thin and deep", row, cost, 100 - float(error.says), holds))
    return points


ARMS = {
    "small": {"wide": "WRN-10-1", "thin": "WRN-28-0.5"},
    "gpu": {"wide": "WRN-16-2", "thin": "WRN-52-1"},
}
FAMILY = {"wide": "wide", "thin": "thin and deep"}


picture, panels = plt.subplots(1, 2, figsize=(12, 4.6), width_ratios=(1.6, 1))
panels[0].set(
    title="The paper: CIFAR-10",
    xlabel="parameters, millions (filled: counted here; hollow: as printed)",
    ylabel="top-1, % (printed)",
    xscale="log",
)
panels[1].set(
    title=f"Here: {report.scale('small')}",
    xlabel="parameters, thousands",
    ylabel="top-1, % (mean ± one standard deviation)",
)
plots.accuracy_against_cost(panels[0], rivals(), families=tuple(FAMILY.values()), joined=("wide",))
panels[0].set_xticks(SIZES[2:], [f"{size:g}" for size in SIZES[2:]])
panels[0].minorticks_off()
own = report.points("small", {arm: (FAMILY[arm], label) for arm, label in ARMS["small"].items()}, "params", 1e3)
plots.accuracy_against_cost(panels[1], own, legend="best")
plots.save_png(picture, report.folder / "accuracy_vs_parameters.png")
plt.show()

# %% [markdown]
# ## Figure 2: training curves
#
# As in the paper: solid lines are test errors, dashed ones training losses, a thin and deep network beside a wide one.
# Its own are ResNet-164 and WRN-28-10 over 200 epochs; ours are the arms of `small` and `gpu`. Right: the same test
# errors over time, which is the paper's point. How long an epoch of the thin network takes is measured, for `small` by
# the benchmark below (its runs shared their machine with others), for `gpu` in the runs themselves.

# %%


ratios = read_json(ROOT / "tests" / "benchmarks" / "results.json")["wide_resnet"]["ratios"]
(pair,) = (one for one in ratios if one["ours"] == ARMS["small"]["wide"])


def pace(protocol: str) -> dict[str, float]:
    """The time for an epoch of each arm, that of the wide network being one."""
    if protocol != "gpu":
        return {"wide": 1.0, "thin": pair["ratio"]}
    wide, thin = (np.mean([run.seconds for run in report.records(protocol, arm).values()]) for arm in ("wide", "thin"))
    return {"wide": 1.0, "thin": float(thin / wide)}


def curves(protocol: str) -> None:
    """Test error and training loss over epochs, and test error over time; mean over seeds."""
    errors = {arm: report.curves(protocol, arm, "test_top1") for arm in ARMS[protocol]}
    if any(values is None for values in errors.values()):
        note(f"*Not here:* {report.protocols[protocol].what}: no run is pinned yet.")
        return
    _, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6), sharey=True)
    losses = left.twinx()
    for number, (arm, values) in enumerate(errors.items()):
        loss = report.curves(protocol, arm, "train_loss")
        if values is None or loss is None:
            continue
        look: dict[str, Any] = {"color": plots.PALETTE[number], "marker": plots.MARKERS[number], "ms": 3.5}
        label, mean = ARMS[protocol][arm], 100 - values.mean(axis=0)
        epochs = np.arange(1, len(mean) + 1)
        left.plot(epochs, mean, label=f"{label}, test error", **look)
        losses.plot(epochs, loss.mean(axis=0), linestyle="--", label=f"{label}, training loss", **look)
        right.plot(epochs * pace(protocol)[arm], mean, label=label, **look)
    left.set(title=report.scale(protocol), xlabel="epoch", ylabel="test error, %", xticks=epochs)
    losses.set_ylabel("training loss")
    losses.grid(visible=False)
    losses.spines["right"].set_visible(True)
    lines = left.get_lines() + losses.get_lines()
    left.legend(lines, [line.get_label() for line in lines], loc="upper right")
    right.set(title="the same over time", xlabel=f"time, in epochs of {ARMS[protocol]['wide']}")
    right.legend()
    plt.show()


for protocol in ARMS:
    curves(protocol)

# %% [markdown]
# ## Table 6: dropout in the residual branch

# %%
report.exhibit("Table 6")

# %% [markdown]
# ## Table 7: ImageNet without bottlenecks
#
# All widths but the stem's: it keeps 64 channels, as the first convolution keeps 16 on small images.

# %%
report.exhibit("Table 7")

# %% [markdown]
# ## Table 8: ImageNet with bottlenecks

# %%
report.exhibit("Table 8")

# %% [markdown]
# ## Table 9: the best single runs

# %%
report.exhibit("Table 9")

# %% [markdown]
# ## Figure 4: time
#
# Forward and backward, relative to WRN-40-4: the authors' GPU as printed, one thread of a CPU here, and what the
# multiply-adds alone would make of it. Layers that must wait for one another cost time that their MACs do not show.

# %%
report.exhibit("Figure 4")

# The paper's names: ResNet-1004 there is ResNet-1001 everywhere else.
NAMES = {"ResNet-164": "resnet-164", "ResNet-1001": "resnet-1004", "WRN-40-4": "wrn-40-4", "WRN-16-10": "wrn-16-10",
         "WRN-28-10": "wrn-28-10"}  # fmt: skip
printed = {entry.id: float(entry.says) for entry in report.of("Figure 4") if entry.quantity == "latency_ms"}
measured = {one["other"]: one for one in ratios if one["ours"] == "WRN-40-4"}
ways = {
    "the paper: GPU, 32 images": [printed[f"f4.{name}.ms"] / printed["f4.wrn-40-4.ms"] for name in NAMES.values()],
    "here: one CPU thread, 8 images": [measured[name]["ratio"] if name in measured else 1.0 for name in NAMES],
    "multiply-adds": [measured[name]["macs_ratio"] if name in measured else 1.0 for name in NAMES],
}
_, axes = plt.subplots(figsize=(9.5, 3.4))
for number, (label, values) in enumerate(ways.items()):
    places = np.arange(len(NAMES)) + (number - 1) * 0.27
    bars = axes.bar(places, values, width=0.25, label=label, color=(plots.GREY, plots.BLUE, plots.ORANGE)[number])
    axes.bar_label(bars, fmt="{:.1f}", fontsize=7.5)
axes.set_xticks(np.arange(len(NAMES)), NAMES)
axes.set(ylabel="times WRN-40-4")
axes.grid(axis="x", visible=False)
axes.legend()
plt.show()

note(
    f"The arms of `small`, measured in turns on one thread: WRN-28-0.5 takes {pair['ratio']:.2f} times as long as "
    f"WRN-10-1 (quartiles {pair['quartiles'][0]:.2f} to {pair['quartiles'][1]:.2f}), with {pair['macs_ratio']:.2f} "
    "times the multiply-adds."
)

# %% [markdown]
# ## Beside the exhibits
#
# Claims that stand in no exhibit that is made, so that none is left out of this notebook. Then others' weights on the
# 10,000 test images of CIFAR-10 (`python -m papers.wide_resnet.upstream`).

# %%
report.rest()
report.published()

# %% [markdown]
# ## What we learned

# %%
report.learned()
