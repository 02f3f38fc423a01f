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
# # GhostNet: more features from cheap operations
#
# Han, Wang, Tian, Guo, Xu and Xu, CVPR 2020, [arXiv:1911.11907](https://arxiv.org/abs/1911.11907).

# %%
from __future__ import annotations

import math
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import Tensor

from papers.ghostnet import DEFAULTS, MODELS
from papers.ghostnet.model import TABLE_1, ghost_vgg16, theoretical_speed_up, vgg16
from shared import datasets
from shared.figures import maps, plots
from shared.figures.report import Report, note
from shared.ledger import tables
from shared.ledger.claims import CountCheck
from shared.ledger.expand import load_claims
from shared.ledger.printed import parse_printed
from shared.measure import count

report = Report("ghostnet")
report.opening()

# %% [markdown]
# **The idea.** Many feature maps of a convolution look alike. A *Ghost module* makes only every *s*-th map by
# convolution (an *intrinsic* map) and derives the other *s* - 1 from it with a *d* x *d* depthwise convolution
# (its *ghosts*), for about 1/*s* of the multiply-adds (MACs). GhostNet is a MobileNetV3-like network built from them.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Figure 1: maps that look alike
#
# The paper shows pairs of alike maps of an ImageNet ResNet-50. Here the three pairs with the highest absolute
# correlation behind the first convolution in the first block of a plain ResNet-20, trained on CIFAR-10, no map twice.
# The picture comes with scikit-learn; the paper's is not published.

# %%
PICTURES = ("china.jpg", "flower.jpg")  # photographs that scikit-learn ships


def second_layer(name: str, picture: str) -> Tensor | None:
    """Maps (C, H, W) of the second layer of a kept ResNet-20 that sees `picture` at the size it was trained on."""
    found = report.checkpoint(name)
    if found is None:
        return None
    model, card = found
    spec = datasets.spec(card.data)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
    image = (maps.sample_picture(picture, spec.shape[1]) / 255 - mean) / std
    (features,) = maps.catch(model, [model.get_submodule("blocks.0.conv1")], image[None])
    return features[0]


fitted, unseen = (second_layer("resnet20-small-0", picture) for picture in PICTURES)
pairs = [] if fitted is None else maps.similar_pairs(fitted, 3)
if fitted is not None:
    shown = [(place, f"pair {number}, map {place + 1}") for number, pair in enumerate(pairs, 1) for place in pair[:2]]
    maps.show_maps(
        plt.figure(figsize=(9.5, 1.9)), fitted[[place for place, _ in shown]], [title for _, title in shown], columns=6
    )
    plt.show()

# %% [markdown]
# ## Table 1: the layers of GhostNet

# %%
head = ["block", "kernel", "expanded", "channels", "SE", "stride"]
note(
    tables.markdown_table(
        head, [[place, k, e, c, "yes" if se else "", s] for place, (k, e, c, se, s) in enumerate(TABLE_1, 1)]
    )
)
report.exhibit("Table 1")

# %% [markdown]
# ## Table 2: is one map of a pair made from the other by a cheap operation?
#
# The paper fits one map of a pair from the other with a *d* x *d* depthwise convolution: the error is small, and hardly
# falls beyond *d* = 3. The same question is put to the three pairs above, the lower number being the source, the kernel
# by least squares. On the picture that it was fitted on, a larger kernel cannot do worse; what can fail is the error on
# *another* picture, and whether the gain beyond *d* = 3 is small. Errors are shares of the map's variance.

# %%
if fitted is not None and unseen is not None:
    rows, better, further = [], 0, 0
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
report.exhibit("Table 2")

# %% [markdown]
# ## Figure 4: intrinsic maps and their ghosts
#
# The second layer of Ghost-ResNet-20 (*s* = 2), the first Ghost module of its first block: sixteen maps stand where the
# paper shows the sixty-four of VGG-16. Each ghost stands under the intrinsic map that it was made from.

# %%
ghosts = second_layer("ghost-resnet20-s2-small-0", PICTURES[0])
if ghosts is not None:
    half = len(ghosts) // 2
    titles = [f"intrinsic {k + 1}" for k in range(half)] + [f"ghost {k + 1}" for k in range(half)]
    maps.show_maps(plt.figure(figsize=(5.5, 2.9)), ghosts, titles, columns=half)
    plt.show()
    alike = [float(torch.corrcoef(ghosts[[k, half + k]].flatten(1))[0, 1]) for k in range(half)]
    listed = ", ".join("none (a constant map)" if math.isnan(value) else f"{value:.2f}" for value in alike)
    note(f"Correlation of each ghost with its intrinsic map: {listed}.")

# %% [markdown]
# ## Table 3: the kernel *d* of the cheap operation

# %%
report.exhibit("Table 3")

# %% [markdown]
# ## Table 4: the ratio *s*

# %%
report.exhibit("Table 4")

# %% [markdown]
# Equation 4 gives a Ghost module's speed-up *r_s*, about *s* when the input has many channels. A network gains less:
# its first convolution and its classifier stay as they are.

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
note(
    "The counted speed-up of the whole network lies within the range of its layers for "
    + (f"s = {', '.join(inside)}." if inside else "no s.")
)

# %% [markdown]
# ## Figure 5: maps of the plain network

# %%
if fitted is not None:
    titles = [f"map {k + 1}" for k in range(len(fitted))]
    maps.show_maps(plt.figure(figsize=(5.5, 2.9)), fitted, titles, columns=len(fitted) // 2)
    plt.show()

# %% [markdown]
# ## Table 5: against the plain networks and their pruned forms

# %%
report.exhibit("Table 5")
report.place("Section 4.1")

# %% [markdown]
# The runs behind the orderings: lines are means over seeds, bands reach from the lowest seed to the highest. The last
# epoch counts; nothing was chosen by the test split.

# %%
LABELS = {
    "resnet20": "ResNet-20",
    "resnet20-narrow": "ResNet-20, fewer channels",
    "ghost-resnet20-s2": "Ghost-ResNet-20, s = 2",
}
report.show_curves("small", LABELS)

# %% [markdown]
# ## Table 6: ResNet-50 on ImageNet

# %%
report.exhibit("Table 6")

# %% [markdown]
# ## Table 7: small networks on ImageNet

# %%
report.exhibit("Table 7")

# %% [markdown]
# How far our counts lie from the printed ones; the grey bars are what rounding the print, or reading it off the figure,
# allows. The TensorFlow release, which the paper was made with, rounds GhostNet's channels by one rule and the PyTorch
# release by another: where circle and square part, the printed MACs tell which rule was used.

# %%
RULES: dict[str, dict[str, Any]] = {
    "tensorflow": {"marker": "o", "color": plots.BLUE},
    "pytorch": {"marker": "s", "color": plots.VERMILION, "fillstyle": "none", "markersize": 9},
    "": {"marker": "^", "color": plots.GREEN},
}


def draw_deviations(axes: Axes) -> None:
    """Counted over printed MACs, in per cent; both rounding rules for GhostNet."""
    cited = {entry.id for entry in report.of("Table 7", "Figure 6")}
    rows: dict[str, Any] = {}
    for claim in load_claims("ghostnet"):
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


_, axes = plt.subplots(figsize=(6.5, 4.6))
draw_deviations(axes)
plt.show()

# %% [markdown]
# ## Figure 6: accuracy against MACs
#
# Two charts because the accuracies cannot share an axis. Left: the accuracies are the paper's, the MACs are counted on
# the networks built here (filled markers) or as printed (hollow). Right: our own runs, mean over seeds, error bars one
# standard deviation. The picture of the README is this one.

# %%
FAMILIES = ("GhostNet", "MobileNetV3-L", "MobileNetV2", "ShuffleNetV2", "ShuffleNetV1")
MILLION = 1e6


def millions(text: str) -> float:
    """A printed number of MACs in millions."""
    return float(parse_printed(text).value) / MILLION


def imagenet_points() -> list[plots.Point]:
    """The networks of table 7 and figure 6 with accuracy and MACs; of two prints the table's."""
    cells = {(entry.row, entry.quantity): entry for entry in [*report.of("Figure 6"), *report.of("Table 7")]}
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
    return points


picture, panels = plt.subplots(1, 2, figsize=(12, 5), width_ratios=(1.6, 1))
panels[0].set(
    title="The paper: small networks on ImageNet",
    xlabel="MACs, millions (filled: counted here; hollow: as printed)",
    ylabel="ImageNet top-1, % (printed)",
)
panels[1].set(
    title="Here: ResNet-20 on CIFAR-10, 4 epochs",
    xlabel="MACs, millions",
    ylabel="top-1, % (mean ± one standard deviation)",
)
plots.accuracy_against_cost(panels[0], imagenet_points(), families=FAMILIES, joined=FAMILIES)
looks = {arm: (label.partition(",")[0], label) for arm, label in LABELS.items()}
own = report.points("small", looks, "macs", MILLION)
plots.accuracy_against_cost(panels[1], own, families=("Ghost-ResNet-20", "ResNet-20"))
plots.save_png(picture, report.folder / "accuracy_vs_macs.png")
plt.show()
report.exhibit("Figure 6")

# %% [markdown]
# ## Table 8: detection on COCO

# %%
report.exhibit("Table 8")
BACKBONES = {"ghostnet": "GhostNet", "mobilenet-v3": "MobileNetV3", "mobilenet-v2": "MobileNetV2"}
report.show_curves("scenes", {f"retinanet-{arm}": f"RetinaNet on {label}" for arm, label in BACKBONES.items()})

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
