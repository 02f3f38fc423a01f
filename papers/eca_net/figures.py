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
# # ECA-Net: efficient channel attention
#
# Wang, Wu, Zhu, Li, Zuo and Hu, CVPR 2020, [arXiv:1910.03151](https://arxiv.org/abs/1910.03151).

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from papers.eca_net.model import PUBLISHED, ChannelAttention, kernel_size, kernel_sizes
from shared import datasets
from shared.figures import maps, plots
from shared.figures.report import Report, note
from shared.ledger import tables
from shared.ledger.counts import count_model, tool_count
from shared.ledger.printed import parse_printed

report = Report("eca_net")
report.opening()

# %% [markdown]
# **The idea.** Channel attention multiplies each channel of a layer by a weight between 0 and 1, computed from the
# channels' means. Squeeze-and-excitation (SE) does so by two fully connected layers with fewer channels between them.
# ECA needs no such reduction: a one-dimensional convolution of *k* weights over the channels, shared by all of them.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# **Units.** The paper divides parameters by 2^20 and FLOPs by 2^30, and its FLOPs are what a tool counted; so are ours
# beside them. Table 5 is in millions and billions, and by another tool. The rules: shared/measure/conventions.py.
#
# ## Figure 1: accuracy against parameters
#
# Two charts because the accuracies cannot share an axis. Left: the accuracies are the paper's, the parameters are
# counted on the networks built here (filled markers) or as printed (hollow). Right: our own runs, mean over seeds,
# error bars one standard deviation. The picture of the README is this one.

# %%
FAMILIES = ("ResNet", "SENet", "ECA-Net", "CBAM")


def points() -> list[plots.Point]:
    """The networks of table 3 on ResNets: accuracy as printed against parameters in units of 2^20."""
    cells = {(entry.row, entry.quantity): entry for entry in report.of("Table 3")}
    found = []
    for (row, quantity), accuracy in cells.items():
        if quantity != "top1" or "MobileNet" in row:
            continue
        method, _, backbone = row.removesuffix(")").partition(" (")
        params = cells[row, "params"]
        cost = float(parse_printed(params.ours or params.says, binary=True).value) / 2**20
        depth = backbone.removeprefix("ResNet-")
        label = depth if method in FAMILIES else f"{method} {depth}"
        family = method if method in FAMILIES else "others"
        found.append(plots.Point(family, label, cost, float(accuracy.says), params.ours is not None))
    return found


LABELS = {"none": "without attention", "se": "SE", "eca": "ECA"}


picture, panels = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(1.6, 1))
panels[0].set(
    title="The paper: ImageNet",
    xlabel="parameters, $2^{20}$ (filled: counted here; hollow: as printed)",
    ylabel="ImageNet top-1, % (printed)",
)
panels[1].set(
    title="Here: narrow ResNet-20 on CIFAR-10, 8 epochs",
    xlabel="parameters, thousands",
    ylabel="top-1, % (mean ± one standard deviation)",
)
plots.accuracy_against_cost(panels[0], points(), families=FAMILIES, joined=FAMILIES)
own = report.points("small", {"se": ("SENet", ""), "eca": ("ECA-Net", "")}, "params", 1e3)
plots.accuracy_against_cost(panels[1], own, families=FAMILIES, legend="best")
plots.save_png(picture, report.folder / "accuracy_vs_parameters.png")
plt.show()

# %% [markdown]
# ## Table 2: what the map from means to weights needs
#
# All on ResNet-50. The formulas of the parameters were checked for many channel counts.

# %%
report.exhibit("Table 2")

# %% [markdown]
# ## Table 3: attention modules on ImageNet

# %%
report.exhibit("Table 3")

# %% [markdown]
# The runs behind the orderings: lines are means over seeds, bands reach from the lowest seed to the highest. The last
# epoch counts; nothing was chosen by the test split.

# %%
report.show_curves("small", LABELS)

# %% [markdown]
# What "FLOPs" are in tables 3 and 4: four ways to count the same networks. Multiply-adds alone, in the usual units or
# divided by 2^30, give none of the printed numbers; thop's rules of 2019, divided by 2^30, give them all.

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
# What the last module of each stage gives for two photographs that scikit-learn ships, their central squares at
# 32 x 32 pixels, in networks of our own (seed 0). Where the two lines part, the weight depends on the image.

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
# ## Table 4: against other networks on ImageNet

# %%
report.exhibit("Table 4")

# %% [markdown]
# Section 3.3: equation 12 gives the odd number nearest to |log2(C) / 2 + 1 / 2|. That line, the sizes it gives, and the
# sizes that the authors trained with, at the channels that the modules of each network see; below, stage by stage.

# %%
BASIC, BOTTLENECK = (64, 128, 256, 512), (256, 512, 1024, 2048)
powers = 2 ** np.arange(4, 12)
figure, axes = plt.subplots(figsize=(5.6, 3.4))
axes.plot(powers, (np.log2(powers) + 1) / 2, color=plots.GREY, linestyle=":", label="before rounding")
axes.plot(powers, [kernel_size(int(c)) for c in powers], "o", color=plots.BLUE, label="equation 12")
for number, (depth, sizes) in enumerate(PUBLISHED.items()):
    seen = BASIC if depth < 50 else BOTTLENECK
    marker, colour = plots.MARKERS[number + 1], plots.PALETTE[number + 1]
    shift = 1.1 ** (number - 2)  # so that equal points stand side by side
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

report.place("Section 3.3")

# %% [markdown]
# ## Table 5: detection on COCO

# %%
report.exhibit("Table 5")
report.show_curves("scenes", LABELS)

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
