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
# # Network Slimming: channels that their own scales make go
#
# Liu, Li, Shen, Huang, Yan and Zhang, ICCV 2017, [arXiv:1708.06519](https://arxiv.org/abs/1708.06519).

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from shared.figures import plots
from shared.figures.report import Report
from shared.ledger.evidence import ArmResult

report = Report("network_slimming")
SAYS = {entry.id: entry.says for entry in report.entries}
report.opening()

# %% [markdown]
# **The idea.** Batch normalisation multiplies every channel by a scale, gamma. Training with lambda times the sum of
# all |gamma| added to the loss pushes the scales of channels that matter little to zero. Then one threshold for the
# whole network decides which channels go, the narrower network is built from what is left, and it is fine-tuned.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# **Units.** FLOPs are printed with two operations for a multiply-add; claims of MACs are stated so here.
#
# ## Table 1: CIFAR-10, CIFAR-100 and SVHN
#
# The full networks are counted here. What the pruned ones keep depends on masks that were never published; whether the
# printed percentages follow from the printed counts is tested.

# %%
report.exhibit("Table 1")

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
# official page points to Table 4 of a later paper, arXiv 1810.05270, whose rows stand second.

# %%
report.exhibit("Table 2")
report.place("Official code (ImageNet)")

# %% [markdown]
# ## Table 3: a perceptron on MNIST

# %%
report.exhibit("Table 3")

# %% [markdown]
# ## Table 4: slimming once more, and again

# %%
report.exhibit("Table 4")

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
# Our own three passes on digits: a pass trains with sparsity what the one before left, takes half of the channels, of
# no layer more than half, and fine-tunes. Bars are one standard deviation; grey: the network before any pruning.


# %%
def error(result: ArmResult) -> tuple[float, float]:
    """Mean test error and its standard deviation, per cent."""
    return 100 - result.mean, result.std or 0.0


def errors_of(protocol: str, arms: dict[float, str]) -> dict[float, tuple[float, float]]:
    """Of the arms that were run."""
    return {place: error(one) for place, arm in arms.items() if (one := report.result(protocol, arm)) is not None}


def baseline(axes: Axes, protocol: str, arm: str = "base", label: str = "baseline") -> None:
    """A grey line and its band, one standard deviation each way."""
    if (found := report.result(protocol, arm)) is not None:
        mean, spread = error(found)
        axes.axhline(mean, color=plots.GREY, linestyle="-" if arm == "base" else ":", label=label)
        axes.axhspan(mean - spread, mean + spread, color=plots.GREY, alpha=0.18)


PASSES = {"sparse": "trained with sparsity", "tuned": "fine-tuned"}
lines = {label: errors_of("passes", {step: f"{kind}-{step}" for step in (1, 2, 3)}) for kind, label in PASSES.items()}
_, axes = plt.subplots(figsize=(6, 3.2))
baseline(axes, "passes")
plots.series(axes, {label: line for label, line in lines.items() if line}, apart=0.04)
axes.set(xticks=(1, 2, 3), xlabel="pass, each without half of the channels that were left", ylabel="test error, %",
         title=report.scale("passes"))  # fmt: skip
axes.legend(loc="upper left")
plt.show()

# %% [markdown]
# ## Figure 4: the scales
#
# The share of scales below 0.01 with and without the term, over the seeds, and all scales of the ResNet-20 that went on
# with it (seed 0). Both began with the scales of the published network, half of them above 0.65.

# %%
report.exhibit("Figure 4")
LAMBDAS = {"base": "0", "sparse": "1.5e-3"}
shares = {label: one for arm, label in LAMBDAS.items() if (one := report.result("small", arm, "small_scales"))}
figure, panels = plt.subplots(1, 2, figsize=(8.5, 2.9))
panels[0].bar([*shares], [one.mean for one in shares.values()], 0.6, yerr=[one.std or 0 for one in shares.values()],
              color=plots.BLUE, capsize=4)  # fmt: skip
panels[0].set(xlabel="lambda", ylabel="scales below 0.01, %", title=report.scale("small"))
loaded = report.checkpoint("sparse-small-0")
if loaded is not None:
    state = loaded[0].state_dict()
    norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
    gammas = np.concatenate([state[f"{norm}weight"].abs().numpy() for norm in norms])
    panels[1].hist(gammas, 40, color=plots.BLUE)
    panels[1].set(xlabel="|gamma|", ylabel="channels", title="lambda 1.5e-3")
plt.show()

# %% [markdown]
# ## Figure 5: error against the channels that went
#
# Lines are means over seeds, bars one standard deviation, side by side where they would stack. The paper has
# DenseNet-40 here. The picture of the README is this one.

# %%
report.exhibit("Figure 5")
SWEEP = (20, 40, 60, 80)
LINES = {"pruned": "pruned", "tuned": "fine-tuned", "tuned-l1": "by L1 norms, fine-tuned"}
picture, panels = plt.subplots(1, 2, figsize=(11, 3.9))
for axes, near in zip(panels, (False, True), strict=True):
    found = {label: errors_of("small", {ratio: f"{kind}-{ratio}" for ratio in SWEEP}) for kind, label in LINES.items()}
    baseline(axes, "small")
    baseline(axes, "small", "sparse", "trained with sparsity")
    plots.series(axes, {label: {} if near and label == "pruned" else line for label, line in found.items() if line},
                 apart=1.2)  # fmt: skip
    axes.set(xlabel="channels pruned, %", ylabel="test error, %", xticks=SWEEP,
             title="the same, without what is only pruned" if near else report.scale("small"))  # fmt: skip
panels[0].legend(loc="upper right", bbox_to_anchor=(1.0, 0.9))  # between what is only pruned and what is tuned
plots.save_png(picture, report.folder / "error_vs_channels.png")
plt.show()

# %% [markdown]
# One threshold for the whole network takes different shares of its layers: channels inside each block, seed 0.

# %%
_, axes = plt.subplots(figsize=(7, 2.8))
for number, ratio in enumerate((40, 60, 80)):
    run = report.records("small", f"pruned-{ratio}").get("0")
    if run is not None:
        widths = [int(width) for width in str(run.args["widths"]).split("-")]
        axes.step(np.arange(1, len(widths) + 1), widths, where="mid", color=plots.PALETTE[number],
                  marker=plots.MARKERS[number], ms=3.5, label=f"{ratio} % pruned")  # fmt: skip
axes.step(np.arange(1, 10), np.repeat((16, 32, 64), 3), where="mid", color=plots.GREY, label="full")
axes.set(title=report.scale("small"), xlabel="block", ylabel="channels inside")
axes.set_ylim(bottom=0)
axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
plt.show()

# %% [markdown]
# The runs behind the orderings: lines are means over seeds, bands reach from the lowest seed to the highest. The last
# epoch counts; nothing was chosen by the test split.

# %%
CURVES = {"base": "baseline", "sparse": "with sparsity", "tuned-40": "40 % pruned, fine-tuned",
          "tuned-60": "60 % pruned, fine-tuned", "tuned-80": "80 % pruned, fine-tuned"}  # fmt: skip
report.show_curves("small", CURVES)

# %% [markdown]
# ## Table 5 (supplement): the widths
#
# The widths "iter 5 trained" are those that iteration 4 left: they save 95.6 % of the parameters and 77.2 % of the
# FLOPs, as the row of iteration 4 says.

# %%
report.exhibit("Table 5 (supplement)")

# %% [markdown]
# ## Table 7 (supplement): against pruning by L1 norms

# %%
report.exhibit("Table 7 (supplement)")

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
