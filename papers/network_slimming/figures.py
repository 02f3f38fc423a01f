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
# # Network Slimming: channels that their own scales make go
#
# Liu, Li, Shen, Huang, Yan and Zhang, ICCV 2017, [arXiv:1708.06519](https://arxiv.org/abs/1708.06519).
#
# **The idea.** Batch normalisation multiplies every channel by a scale, gamma. Training with lambda times the sum of
# all |gamma| added to the loss pushes the scales of channels that matter little to zero. Then one threshold for the
# whole network decides which channels go, the narrower network is built from what is left, and it is fine-tuned.
#
# **How to read a verdict.** A number that can be counted is built and counted here: `exact` when ours rounds to what is
# printed, `deviates` otherwise, always with the reason; what a test shows is `within`. A number that is the outcome of
# training is never compared with a smaller run: from those only an *ordering* is judged, by a criterion written before
# the run: `supported`, `contradicted` or `inconclusive`. What was not done is `not attempted`, with the command that
# would do it where there is one.
#
# **Units.** FLOPs are printed with two operations for a multiply-add; claims of MACs are stated so here.
#
# This notebook reads results; it trains nothing.

# %%
from __future__ import annotations

import re
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from shared.figures import plots
from shared.figures.report import Report, note
from shared.files import read_json
from shared.ledger import Entry, tables
from shared.ledger.evidence import REPEATED, ArmResult, arm_result
from shared.weights.storage import load_weights

report = Report("network_slimming")
PAPER, PROTOCOLS = report.folder, report.protocols
SAYS = {entry.id: entry.says for entry in report.entries}


def of(*places: str) -> list[Entry]:
    """The claims that stand in `places`, without those of runs: they have a section of their own."""
    return [entry for entry in report.of(*places) if entry.check != "run"]


note(tables.verdict_line(report.entries) + "\n\n" + tables.overview(report.entries))

# %% [markdown]
# ## Table 1: CIFAR-10, CIFAR-100 and SVHN
#
# The full networks are counted here. What the pruned ones keep depends on masks that were never published; whether the
# printed percentages follow from the printed counts is tested.

# %%
for part, data in (("a", "CIFAR-10"), ("b", "CIFAR-100"), ("c", "SVHN")):
    note(f"### Table 1({part}): {data}\n\n" + tables.section(of(f"Table 1({part})")))

# %% [markdown]
# ## Figure 3: what is left
#
# From the printed counts of Table 1(a): parameters and FLOPs of the pruned networks over those of the full ones. All
# five have a printed error below their baseline's. Nothing here was measured.

# %%
PRUNED = {"vgg19-70": "VGGNet, 70 %", "densenet40-40": "DenseNet-40, 40 %", "densenet40-70": "DenseNet-40, 70 %",
          "resnet164-40": "ResNet-164, 40 %", "resnet164-60": "ResNet-164, 60 %"}  # fmt: skip


def left(arm: str, quantity: str) -> float:
    """What a pruned network of Table 1(a) keeps, per cent of the printed counts."""
    whole, _, _ = arm.rpartition("-")
    part, full = (float(SAYS[f"t1a.{name}.{quantity}"].removesuffix("M")) for name in (arm, whole))
    return 100 * part / full


figure, axes = plt.subplots(figsize=(7, 3.2))
places = np.arange(len(PRUNED))
for shift, (quantity, label, colour) in enumerate(
    (("params", "parameters", plots.BLUE), ("macs", "FLOPs", plots.VERMILION))
):
    heights = [left(arm, quantity) for arm in PRUNED]
    bars = axes.bar(places + 0.38 * (shift - 0.5), heights, 0.36, label=label, color=colour)
    axes.bar_label(bars, fmt="%.0f", fontsize=8)
axes.axhline(100, color=plots.GREY, linewidth=0.8, linestyle=":")
axes.set_xticks(places, [label.replace(", ", "\n") for label in PRUNED.values()])
axes.set(ylabel="left of the full network, % (printed)", ylim=(0, 112))
axes.grid(axis="x", visible=False)
axes.legend(loc="upper left", ncols=2)
plt.show()

# %% [markdown]
# ## Table 2: withdrawn
#
# The authors withdrew Table 2: a mistake about activations between the fully connected layers was found later. The
# official page points to Table 4 of a later paper, arXiv 1810.05270, whose rows stand under "Official code (ImageNet)".

# %%
note("### Table 2\n\n" + tables.section(of("Table 2")))
note("### The numbers in its place\n\n" + tables.section(of("Official code (ImageNet)")))

# %% [markdown]
# ## Tables 3 and 4, and the widths of the supplement's Table 5
#
# The widths "iter 5 trained" are those that iteration 4 left: they save 95.6 % of the parameters and 77.2 % of the
# FLOPs, as the row of iteration 4 says.

# %%
note("### Table 3\n\n" + tables.section(of("Table 3")))
for part, data in (("a", "CIFAR-10"), ("b", "CIFAR-100")):
    note(f"### Table 4({part}): {data}\n\n" + tables.section(of(f"Table 4({part})")))
note("### Table 5 of the supplement\n\n" + tables.section(of("Table 5 (supplement)")))

# %%
FULL = [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
SLIM = [int(width) for width in SAYS["t5.widths"].split("-")]
figure, panels = plt.subplots(1, 2, figsize=(9.5, 3.2))
for widths, label, colour in ((FULL, "VGG-19", plots.GREY), (SLIM, "after four iterations", plots.BLUE)):
    panels[0].bar(np.arange(1, 17), widths, label=label, color=colour)
panels[0].set(xlabel="layer", ylabel="channels", title="Widths of the supplement's Table 5 (printed)")
panels[0].legend()
for part, data, marker in (("a", "CIFAR-10", "o"), ("b", "CIFAR-100", "s")):
    saved = [float(SAYS[f"t4{part}.pass-{number}.params-saved"]) for number in range(1, 7)]
    for what, style in (("trained", "-"), ("tuned", "--")):
        errors = [float(SAYS[f"t4{part}.pass-{number}.{what}.error"]) for number in range(1, 7)]
        name = "trained with sparsity" if what == "trained" else "fine-tuned"
        panels[1].plot(saved, errors, style, marker=marker, label=f"{data}, {name}")
panels[1].set(xlabel="parameters saved, %", ylabel="test error, %", title="Table 4 (printed)")
panels[1].legend()
plt.show()

# %% [markdown]
# ## The supplement's Tables 6 and 7, and the official code's page

# %%
note("### Table 6\n\n" + tables.section(of("Table 6 (supplement)")))
note("### Table 7\n\n" + tables.section(of("Table 7(a) (supplement)", "Table 7(b) (supplement)")))
for place in ("Official code (CIFAR-10)", "Official code (CIFAR-100)", "Official code (masks)"):
    note(f"### {place}\n\n" + tables.section(of(place)))

# %% [markdown]
# ## Figure 4: the scales
#
# All scales of a trained VGG-19 at one eighth of its width, seed 0, for each lambda. A scale starts at one half.


# %%
def ended(protocol: str, arm: str, seed: int = 0) -> Mapping[str, Tensor] | None:
    """The weights that a run ended with, `mini` as run on this machine, others as pinned; None and a line without."""
    if protocol != REPEATED:
        loaded = report.checkpoint(f"{arm}-{protocol}-{seed}")
        return None if loaded is None else loaded[0].state_dict()
    folder = PAPER / "runs" / protocol / arm / "seeds" / str(seed)
    if not (folder / "run.json").exists():
        note(f"*Not here:* `{protocol}/{arm}` has no run of seed {seed} yet, so that this figure cannot be made.")
        return None
    return load_weights(folder / "weights.safetensors", read_json(folder / "run.json")["sha256"])


def scales(state: Mapping[str, Tensor]) -> list[NDArray[np.float32]]:
    """|gamma| of every batch normalisation, in the order of the numbers in their names: a file has another order."""
    norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
    norms.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    return [state[f"{norm}weight"].abs().numpy() for norm in norms]


def lambda_of(protocol: str, arm: str) -> float:
    """Of an arm that is trained from its initialisation."""
    weight = getattr(PROTOCOLS[protocol].recipe_of(arm), "scale_l1", None)
    return float(weight or 0)


GAMMAS = {"mini": ("base", "sparse"), "small": ("base", "sparse-low", "sparse")}
for protocol, arms in GAMMAS.items():
    found = {arm: state for arm in arms if (state := ended(protocol, arm)) is not None}
    if not found:
        continue
    figure, panels = plt.subplots(1, len(found), figsize=(3.4 * len(found), 2.7), sharey=True, squeeze=False)
    edges = np.linspace(0, max(np.concatenate(scales(state)).max() for state in found.values()), 41)
    for axes, (arm, state) in zip(panels[0], found.items(), strict=True):
        values = np.concatenate(scales(state))
        axes.hist(values, edges, color=plots.BLUE)
        axes.set(title=f"{protocol}: lambda {lambda_of(protocol, arm):g}", xlabel="|gamma|")
        share = 100 * np.mean(values < 0.01)
        axes.text(0.97, 0.94, f"{share:.1f} % below 0.01", ha="right", va="top", transform=axes.transAxes)
    panels[0, 0].set_ylabel("channels")
    plt.show()

# %% [markdown]
# ## Widths before and after pruning
#
# One threshold for the whole network takes different shares of its layers: channels of each layer of VGG-19 at one
# eighth of its width, seed 0.

# %%
WIDTHS = {"mini": ("base", "pruned-40", "pruned-70"), "small": ("base", "pruned-40", "pruned-60", "pruned-80")}
for protocol, arms in WIDTHS.items():
    found = {arm: state for arm in arms if (state := ended(protocol, arm)) is not None}
    if not found:
        continue
    _, axes = plt.subplots(figsize=(7, 2.8))
    for number, (arm, state) in enumerate(found.items()):
        channels = [len(layer) for layer in scales(state)]
        colour = plots.GREY if arm == "base" else plots.PALETTE[number - 1]
        axes.step(np.arange(1, len(channels) + 1), channels, where="mid", color=colour,
                  marker=plots.MARKERS[number], ms=3.5, label=arm)  # fmt: skip
    axes.set(title=f"{protocol}: channels of each layer", xlabel="layer", ylabel="channels")
    axes.set_ylim(bottom=0)
    axes.legend()
    plt.show()

# %% [markdown]
# ## Figure 5: error against the channels that went
#
# Lines are means over seeds, bars one standard deviation. Grey: the baseline; dotted: trained with sparsity, nothing
# pruned. The paper has DenseNet-40 here. The picture of the README is this one, of `small`.

# %%
SWEEPS = {"mini": (40, 70), "small": (20, 40, 60, 80)}
LINES = {"pruned": "pruned", "tuned": "fine-tuned", "tuned-l1": "by L1 norms, fine-tuned",
         "scratch": "new weights, same widths"}  # fmt: skip


def result(protocol: str, arm: str) -> ArmResult | None:
    """Top-1 accuracies of an arm, when params.yaml has it and it was run."""
    plan = PROTOCOLS[protocol]
    return arm_result("network_slimming", protocol, plan, arm) if arm in plan.arms else None


def sweep(axes: Axes, protocol: str, *, near: bool) -> bool:
    """Draw Figure 5; with `near` only what is close to the baseline. False, and nothing drawn, without its runs."""
    base, sparse = result(protocol, "base"), result(protocol, "sparse")
    if base is None or sparse is None:
        axes.text(0.5, 0.5, "not here: no run yet", ha="center", transform=axes.transAxes)
        return False
    axes.axhline(100 - base.mean, color=plots.GREY, label="baseline")
    axes.axhspan(100 - base.mean - (base.std or 0), 100 - base.mean + (base.std or 0), color=plots.GREY, alpha=0.18)
    axes.axhline(100 - sparse.mean, color=plots.ORANGE, linestyle=":", label="trained with sparsity")
    for number, (kind, label) in enumerate(LINES.items()):
        if near and kind == "pruned":
            continue
        found = {ratio: one for ratio in SWEEPS[protocol] if (one := result(protocol, f"{kind}-{ratio}"))}
        if found:
            errors, spreads = zip(*((100 - one.mean, one.std or 0) for one in found.values()), strict=True)
            marker = plots.MARKERS[number]
            axes.errorbar([*found], errors, spreads, color=plots.PALETTE[number], marker=marker, capsize=3, label=label)
    axes.set(xlabel="channels pruned, %", ylabel="test error, %", title=f"{protocol}: {'close up' if near else 'all'}")
    axes.legend()
    return True


def show_sweep(protocol: str) -> plt.Figure:
    """Both views of Figure 5 for a protocol."""
    picture, panels = plt.subplots(1, 2, figsize=(10, 3.8))
    for axes, near in zip(panels, (False, True), strict=True):
        sweep(axes, protocol, near=near)
    return picture


show_sweep("mini")
plt.show()
plots.save_png(show_sweep("small"), PAPER / "error_vs_channels.png")
plt.show()

# %% [markdown]
# Table 4 again, from our own runs: a pass trains with sparsity what the one before left, takes half of the channels, of
# no layer more than half, and fine-tunes. Bars are one standard deviation; grey: the network before any pruning.

# %%
_, axes = plt.subplots(figsize=(7, 3.2))
full = result("passes", "base")
if full is None:
    axes.text(0.5, 0.5, "not here: no run of `passes` is pinned yet", ha="center", transform=axes.transAxes)
else:
    axes.axhline(100 - full.mean, color=plots.GREY, label="baseline")
    axes.axhspan(100 - full.mean - (full.std or 0), 100 - full.mean + (full.std or 0), color=plots.GREY, alpha=0.18)
    for number, (kind, label) in enumerate({"sparse": "trained with sparsity", "tuned": "fine-tuned"}.items()):
        passes = {step: one for step in (1, 2, 3) if (one := result("passes", f"{kind}-{step}")) is not None}
        if passes:
            means, spreads = zip(*((100 - one.mean, one.std or 0) for one in passes.values()), strict=True)
            axes.errorbar([*passes], means, spreads, color=plots.PALETTE[number], marker=plots.MARKERS[number],
                          capsize=3, label=label)  # fmt: skip
    axes.set(xticks=(1, 2, 3), xlabel="pass", ylabel="test error, %", title="passes: three times half of the channels")
    axes.legend()
plt.show()

# %% [markdown]
# What pruning left, and what became of it: means over the seeds.

# %%
rows = []
for protocol, plan in PROTOCOLS.items():
    for arm, spec in plan.arms.items():
        if spec.of is None or result(protocol, arm) is None:
            continue
        metrics = (arm_result("network_slimming", protocol, plan, arm, name) for name in ("top1", "params", "macs"))
        top1, params, macs = (metric.mean for metric in metrics if metric is not None)
        rows.append([protocol, arm, f"{100 - top1:.2f}", f"{params / 1e6:.3f}M", f"{macs / 1e6:.2f}M"])
note(
    tables.markdown_table(["protocol", "arm", "test error, %", "parameters", "MACs"], rows)
    if rows
    else "*Not here:* no arm has been pruned here and none is pinned."
)

# %% [markdown]
# Figure 6 of the paper, the scales of one layer over the epochs, is left out: a run keeps the weights of its last epoch
# alone.
#
# ## What was trained here
#
# Lines are means over seeds, bands reach from the lowest seed to the highest. The last epoch counts; nothing was chosen
# by the test split. `mini` was run by the machine that made this notebook; of the other protocols the pinned runs are
# shown. The protocols stand in full in `papers/network_slimming/params.yaml`.

# %%
for protocol in dict.fromkeys(check.protocol for check in report.orderings.values()):
    trained = [arm for arm, spec in PROTOCOLS[protocol].arms.items() if spec.prune is None]
    report.show_curves(protocol, {arm: arm for arm in trained})

# %% [markdown]
# Each claim about an ordering, with the criterion that was written before the run: the dot is the difference of mean
# top-1, or of the percentage of small scales (the first arm minus the second), the bar its 95 % interval (Welch), the
# black stroke the margin. A claim is supported when the whole bar lies to the right of its stroke, contradicted when it
# lies to the left.

# %%
report.show_orderings("difference of top-1 or of the share of small scales, points",
                      "{0.protocol}: {0.better} - {0.than} ({0.metric})")  # fmt: skip

# %% [markdown]
# ## Everything else
#
# Claims that stand in none of the places above, so that no claim is left out of this notebook.

# %%
report.show_rest()
