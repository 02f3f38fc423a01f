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
# # Rethinking the Value of Network Pruning: train the small network from scratch
#
# Liu, Sun, Zhou, Huang and Darrell, ICLR 2019, [arXiv:1810.05270](https://arxiv.org/abs/1810.05270).

# %%
from __future__ import annotations

import re

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy import stats

from shared.figures import plots
from shared.figures.report import Report, note
from shared.ledger.counts import count_model
from shared.ledger.evidence import ArmResult
from shared.training.protocol import input_shape

SLUG = "rethinking_pruning"
report = Report(SLUG)
PROTOCOLS = report.protocols
SAYS = {entry.id: entry.says for entry in report.entries}
WAYS = {"tuned": "fine-tuned", "scratch-e": "scratch-E", "scratch-b": "scratch-B"}
report.opening()

# %% [markdown]
# **The question.** Pruning trains a large network, takes some of it out, and fine-tunes the rest. Does the rest need
# the weights that it inherits? The paper trains the same small network from new weights, for the epochs of the large
# one (scratch-E) or for as much computation (scratch-B), and finds it at least as good where whole filters or
# channels went.
#
# **How the numbers are known.** No copy of the paper with its tables was at hand. Most numbers are `recalled`, some
# are read in transcriptions of others (`read_secondary`) or on the pages of the released code (`read`).
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Table 1: filters by their L1 norms

# %%
report.exhibit("Table 1")

# %% [markdown]
# The budget of scratch-B: as many more epochs as the pruned network has fewer multiply-adds than the full one. Dots are
# computed from our counts, strokes are printed. The code for ImageNet stops at twice the epochs of scratch-E.

# %%
EPOCHS = {"vgg16_a": ("vgg16", 160), "resnet56_a": ("resnet56", 160), "resnet56_b": ("resnet56", 160),
          "resnet110_a": ("resnet110", 160), "resnet110_b": ("resnet110", 160), "resnet34_a": ("resnet34", 90),
          "resnet34_b": ("resnet34", 90)}  # fmt: skip


def macs(model: str) -> int:
    """Of one image."""
    return count_model(SLUG, model, {}).macs


_, axes = plt.subplots(figsize=(7, 3))
for row, (model, (full, epochs)) in enumerate(EPOCHS.items()):
    ours = epochs * macs(full) / macs(model)
    printed = int(SAYS[f"t1.{model.replace('_', '-')}.scratch-b.epochs"])
    axes.plot([ours], [row], "o", color=plots.BLUE, label=None if row else "epochs times our ratio of MACs")
    axes.plot([printed], [row], "|", ms=16, color=plots.VERMILION, label=None if row else "printed")
    axes.plot([epochs], [row], "x", color=plots.GREY, label=None if row else "scratch-E")
axes.set(yticks=range(len(EPOCHS)), yticklabels=EPOCHS, xlabel="epochs", xlim=(0, 290))
axes.invert_yaxis()
axes.legend()
plt.show()

# %% [markdown]
# Our own runs: of every seed its top-1 accuracy (small points), their mean and its 95 % interval. Dotted: the mean of
# the network that was pruned.

# %%
METHODS = {"l1": "filters by L1 norm", "thinet": "ThiNet", "regression": "regression", "soft": "soft filter pruning",
           "slim": "channels by scale", "gate": "branches by gate", "weights": "single weights",
           "low": "single weights, rate 0.01"}  # fmt: skip
# Methods that are told how wide each layer is to be end with the same network, so that they share its scratch runs.
STRUCTURE = {"thinet": "l1", "regression": "l1"}
HIGH, TICKET = "fine-tuned\nat 0.1", "winning\nticket"
COLOURS = dict(zip([*WAYS.values(), HIGH, TICKET], plots.PALETTE, strict=False))
ORIGIN = {"slim": "sparse", "soft": "soft", "gate": "gated", "low": "base-low"}  # what was pruned; elsewhere `base`


def half_interval(found: ArmResult) -> float:
    """Half of the 95 % interval of the mean; 0 for a single seed."""
    seeds = len(found.values)
    return float(stats.t.ppf(0.975, seeds - 1)) * found.std / seeds**0.5 if found.std is not None else 0.0


def arms_of(method: str) -> dict[str, str]:
    """The arms to be compared, with their labels."""
    arms = {f"{way}-{method if way == 'tuned' else STRUCTURE.get(method, method)}": name for way, name in WAYS.items()}
    return arms | ({"tuned-l1-high": HIGH} if method == "l1" else {}) | {f"ticket-{method}": TICKET}


def side_by_side(*shown: tuple[str, str]) -> None:
    """A panel for each (protocol, method) that was run."""
    found = {(protocol, method): {label: one for arm, label in arms_of(method).items()
                                  if (one := report.result(protocol, arm)) is not None}
             for protocol, method in shown}  # fmt: skip
    found = {key: arms for key, arms in found.items() if arms}
    if not found:
        note("*Not here:* no run is pinned yet.")
        return
    panels = plt.subplots(1, len(found), figsize=(3.7 * len(found) + 0.6, 3.3), squeeze=False)[1][0]
    for axes, ((protocol, method), arms) in zip(panels, found.items(), strict=True):
        for place, (label, one) in enumerate(arms.items()):
            colour = COLOURS[label]
            axes.errorbar([place], [one.mean], [half_interval(one)], fmt="o", color=colour, capsize=4)
            axes.plot([place + 0.22] * len(one.values), [*one.values.values()], ".", color=colour, alpha=0.5, ms=5)
        full = report.result(protocol, ORIGIN.get(method, "base"))
        if full is not None:
            axes.axhline(full.mean, color=plots.GREY, linestyle=":")
        axes.set_xticks(range(len(arms)), [*arms], fontsize=7.5)
        axes.set_xlim(-0.5, len(arms) - 0.5)
        axes.set_title(f"{METHODS[method]}\n{report.scale(protocol)}", fontsize=8.5)
    panels[0].set_ylabel("test top-1, %")
    plt.show()


side_by_side(("small", "l1"), ("published", "l1"))

# %% [markdown]
# Accuracy against multiply-adds and parameters. Zeros among single weights do not count. The picture of the README is
# this one.


# %%
def size_and_accuracy(protocol: str, arm: str) -> dict[str, ArmResult]:
    """top1, params and macs of an arm; empty without a run."""
    spec = PROTOCOLS[protocol].arms[arm]
    if spec.of is not None:
        numbers = {name: report.result(protocol, arm, name) for name in ("top1", "params", "macs")}
    else:
        shape = input_shape(PROTOCOLS[protocol], arm)
        channels = {} if shape[0] == 3 else {"in_channels": shape[0]}
        cost = count_model(SLUG, spec.builder, {**spec.args, **channels}, shape, 10)
        sizes = {"params": ArmResult({0: float(cost.params)}), "macs": ArmResult({0: float(cost.macs)})}
        numbers = {"top1": report.result(protocol, arm), **sizes}
    return {} if numbers["top1"] is None else {name: number for name, number in numbers.items() if number is not None}


def scatter(protocol: str) -> plt.Figure:
    """Every arm of a protocol: accuracy against multiply-adds and against parameters."""
    found = {arm: numbers for arm in PROTOCOLS[protocol].arms if (numbers := size_and_accuracy(protocol, arm))}
    picture, panels = plt.subplots(1, 2, figsize=(12, 4.4), sharey=True)
    for axes, what, label in ((panels[0], "macs", "multiply-adds, M"), (panels[1], "params", "parameters, M")):
        points = []
        for arm, numbers in found.items():
            method = next((method for method in METHODS if method in arm.split("-")), "")
            way = next((label for way, label in WAYS.items() if arm.startswith(way)), "")
            if not (way or arm == "base"):
                continue  # tickets, and what was only pruned, have the size of the arms that are here
            name = "fine-tuned at 0.1" if arm.endswith("-high") else way
            cost, top1 = numbers[what].mean / 1e6, numbers["top1"]
            family = METHODS.get(method, "full network")
            points.append(plots.Point(family, name, cost, top1.mean, counted=True, spread=half_interval(top1)))
        axes.set(xlabel=label, ylabel="test top-1, % (mean, 95 % interval)", title=report.scale(protocol))
        plots.accuracy_against_cost(axes, points)
    return picture


plots.save_png(scatter("small"), report.folder / "accuracy_vs_macs.png")
plt.show()

# %% [markdown]
# Weights of the convolutions, seed 0, with the zeros left out. Single weights: what magnitude pruning keeps lies away
# from zero and fine-tuning leaves it there, a network trained from new weights has many small ones. Whole filters:
# fine-tuned and new weights are spread alike if inherited weights do not matter.

# %%
KEPT = {"l1": "filters pruned", "weights": "single weights pruned"}
figure, panels = plt.subplots(1, 4, figsize=(12, 2.9))
places = [(f"{way}-{method}-small-0", f"{title}, {WAYS[way]}") for method, title in KEPT.items()
          for way in ("tuned", "scratch-b")]  # fmt: skip
for axes, (name, title) in zip(panels, places, strict=True):
    loaded = report.checkpoint(name)
    if loaded is not None:
        weights = torch.cat([weight.flatten() for weight in loaded[0].state_dict().values() if weight.dim() == 4])
        axes.hist(weights[weights != 0].numpy(), np.linspace(-0.3, 0.3, 81), color=plots.BLUE, density=True)
    axes.set_title(title, fontsize=8.5)
    axes.set_xlabel("weight")
panels[0].set_ylabel("density")
plt.show()

# %% [markdown]
# ## Table 2: ThiNet
#
# Printed as differences to unpruned networks of another framework. The resulting networks are built and counted here.

# %%
report.exhibit("Table 2")

# %% [markdown]
# ## Table 3: reconstruction by regression

# %%
report.exhibit("Table 3")
side_by_side(("digits", "thinet"), ("digits", "regression"), ("gpu", "soft"))

# %% [markdown]
# ## Table 4: Network Slimming

# %%
report.exhibit("Table 4")
side_by_side(("gpu", "slim"))

# %% [markdown]
# ## Table 5: sparse structure selection

# %%
report.exhibit("Table 5")
side_by_side(("digits", "gate"))

# %% [markdown]
# ## Table 6: single weights by their magnitude
#
# Here the paper has exceptions: with 95 % gone on CIFAR-10, and on ImageNet, fine-tuning is ahead in most rows.

# %%
report.exhibit("Table 6")
side_by_side(("small", "weights"))

# %% [markdown]
# ## Table 8: the winning ticket

# %%
report.exhibit("Table 8")
report.place("Page 12")
side_by_side(("small", "l1"), ("small", "weights"), ("gpu", "low"))

# %% [markdown]
# ## Later work, and independent weights
#
# Wang et al. (arXiv 2301.05219) hold the rate of fine-tuning responsible: at 0.001 or less it is far from optimal.
# Their numbers, not the paper's, from another setup: ResNet-34 on 100 classes of ImageNet, filters by L1 norm.

# %%
_, axes = plt.subplots(figsize=(7, 5))
lines: dict[str, tuple[list[int], list[float], str]] = {}
for entry in report.of("Later work"):
    named = re.fullmatch(r"later\.(.+)\.r(\d+)\.top1", entry.id)
    if named is None:
        continue  # an ordering of our own
    setting, share = re.findall(r"ResNet-34, (.+), (\d+) % of filters", entry.row)[0]
    line = lines.setdefault(named[1], ([], [], setting))
    line[0].append(int(share))
    line[1].append(float(entry.says.partition("±")[0]))
for number, (ratios, values, setting) in enumerate(lines.values()):
    axes.plot(ratios, values, marker=plots.MARKERS[number], color=plots.PALETTE[number], label=setting)
axes.set(xlabel="filters pruned, %", ylabel="top-1, %", ylim=(60, 90))
axes.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(0, -0.14))
plt.show()
report.place("Later work")

# %% [markdown]
# ResNet-20, -32, -44 and -56 that Yerlan Idelbayev trained on CIFAR-10 and published, on the 10,000 test images
# (`python -m papers.rethinking_pruning.upstream`).

# %%
report.published()
report.place("Published baselines")

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
