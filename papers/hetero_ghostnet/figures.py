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
# # GhostNets on heterogeneous devices: C-GhostNet and G-GhostNet
#
# Han, Wang, Xu, Guo, Xu, Wu and Tian, IJCV 2022, [arXiv:2201.03297](https://arxiv.org/abs/2201.03297).

# %%
from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import NullLocator
from torch import Tensor, nn

from papers.hetero_ghostnet import MODELS
from papers.hetero_ghostnet.model import GhostStage, code_stage, paper_stage
from papers.hetero_ghostnet.regnet import SIZES, Block, plain_stage
from shared import datasets
from shared.figures import maps, plots
from shared.figures.report import Report, note
from shared.files import ROOT, read_json
from shared.ledger import tables
from shared.ledger.counts import count_model
from shared.ledger.printed import parse_printed
from shared.measure import Count
from shared.weights.load import load_checkpoint

report = Report("hetero_ghostnet")
report.opening()

# %% [markdown]
# **The idea.** Depthwise convolutions are cheap on paper and slow on a GPU, which waits for memory. *Activations*, the
# outputs of all convolutions, tell its latency better than multiply-adds (MACs) do. C-GhostNet, for CPUs, is the
# GhostNet of CVPR 2020. *G-Ghost*, for GPUs, makes ghosts across the blocks of a stage: the last block's output looks
# much like the first one's, so half of its channels come from a cheap operation on the first, and the blocks between
# are half as wide.
#
# No copy of the paper's tables and figures was found. The sections below follow its argument; the numbers in them are
# those that its authors print elsewhere, each under the place where it was read.
#
# ## The stage: plain, by the equations, and as released
#
# Bars are blocks, as high as they have channels, in the third stage of RegNetX-3.2GF, read from the networks that are
# built here. The equations end with the concatenation; the release spends its last block on mixing both halves at full
# width, and narrows the groups of the blocks between.

# %%
INTRINSIC, GHOSTS = plots.BLUE, plots.ORANGE


def channels_of(block: nn.Module) -> int:
    """The output channels of an X block."""
    assert isinstance(block, Block)
    return int(block.body[2][0].out_channels)  # type: ignore[index]


def draw_stage(axes: Axes, stage: nn.Module, title: str) -> None:
    """Bars of the stage's blocks; ghost features stand on the last of those that make the output."""
    blocks = [layer for layer in stage.modules() if isinstance(layer, Block)]
    full = channels_of(blocks[0])
    for place, block in enumerate(blocks):
        height = channels_of(block)
        axes.add_patch(Rectangle((place, 0), 0.72, height, color=INTRINSIC, alpha=1 if height == full else 0.75))
    if isinstance(stage, GhostStage):
        place, narrow = len(stage.path), channels_of(stage.path[0])
        middle = (narrow + full) / 2
        axes.add_patch(Rectangle((place, narrow), 0.72, full - narrow, color=GHOSTS))
        axes.annotate("", (place, middle), (0.8, middle), arrowprops={"arrowstyle": "->", "color": GHOSTS})
        axes.text(1.3, middle + 14, f"cheap: {full - narrow}", color=plots.VERMILION, fontsize=8)
        axes.text(1.3, narrow + 14, f"blocks: {narrow}", color=INTRINSIC, fontsize=8)
    axes.set(title=title, xlim=(-0.3, len(blocks)), ylim=(0, full * 1.06), xticks=[])
    axes.grid(visible=False)


size = SIZES["032"]
shape = (*size.widths[1:3], size.depths[2], size.group_width)
figure, panels = plt.subplots(1, 3, figsize=(11.5, 2.5), sharey=True)
with torch.device("meta"):
    draw_stage(panels[0], plain_stage(3, *shape), "plain: 15 blocks of full width")
    draw_stage(panels[1], paper_stage(*shape), "equations (form=paper)")
    draw_stage(panels[2], code_stage(*shape), "release (form=code)")
panels[0].set_ylabel("channels")
plt.show()

# %%
head = ["size", "RegNetX", "form=code", "form=paper", "RegNetX", "form=code", "form=paper", "lambda of the code"]


def costs(name: str) -> list[Count]:
    """Plain, as released, and by the equations."""
    plain, ghost = f"regnetx_{name}", f"g_ghost_regnetx_{name}"
    return [
        count_model(report.slug, plain, {}),
        count_model(report.slug, ghost, {}),
        count_model(report.slug, ghost, {"form": "paper"}),
    ]


def ratios(name: str) -> str:
    """The share of ghost features in the stages of the released network."""
    with torch.device("meta"):
        network = MODELS[f"g_ghost_regnetx_{name}"]()
    shares = []
    for stage in network.modules():
        if isinstance(stage, GhostStage):
            shares.append(1 - channels_of(stage.path[0]) / channels_of(stage.first))
    return ", ".join(f"{share:.3f}" for share in shares)


rows = []
for name in SIZES:
    found = costs(name)
    rows.append([name, *(f"{one.params / 1e6:.2f} M" for one in found), *(f"{one.macs / 1e9:.3f} G" for one in found),
                 ratios(name)])  # fmt: skip
note("Parameters, then multiply-adds, of the twelve sizes in three forms, counted here:")
note(tables.markdown_table(head, rows))
report.place("Equations")

# %% [markdown]
# ## Redundancy across blocks: the first and the last block of a stage
#
# The paper shows maps of the first and of the last block of a ResNet-34's third stage that look alike, and takes from
# it that the last ones can be made cheaply from the first. Here the same is asked of the ResNet-20 that
# [GhostNet's replication](ghostnet.ipynb) keeps, trained on CIFAR-10: of each channel of the last block of its third
# stage, which channel of the first has the highest absolute correlation? The network sees a photograph at several times
# the size of its training images, so that the maps have enough places.

# %%
PICTURE, SIDE = "china.jpg", 160


def stage_maps(name: str) -> tuple[Tensor, Tensor]:
    """Maps of the first and of the last block of the third stage of a kept ResNet-20, (C, H, W) each."""
    model, card = load_checkpoint(name)
    spec = datasets.spec(card.data)
    average, deviation = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
    image = (maps.sample_picture(PICTURE, SIDE) / 255 - average) / deviation
    ends = [model.get_submodule(f"blocks.{place}") for place in (6, 8)]
    first, last = maps.catch(model, ends, image[None])
    return first[0], last[0]


def correlations(first: Tensor, last: Tensor) -> Tensor:
    """Absolute correlation of each map of the last block with each of the first, (last, first); 0 for constant maps."""
    one, other = (planes.flatten(1).double() for planes in (first, last))
    one, other = (flat - flat.mean(1, keepdim=True) for flat in (one, other))
    norms = other.norm(dim=1)[:, None] * one.norm(dim=1)[None]
    return torch.where(norms > 0, (other @ one.T) / norms.clamp(min=1e-12), 0.0).abs()


first, last = stage_maps("ghostnet/resnet20-small-0")
alike = correlations(first, last)
best, partners = alike.max(1)
chosen: list[int] = []
for place in best.argsort(descending=True).tolist():
    if partners[place] not in partners[chosen]:
        chosen.append(place)
chosen = chosen[:6]
shown = torch.cat([first[partners[chosen]], last[chosen]])
titles = [f"first block, {int(partners[place]) + 1}" for place in chosen]
titles += [f"last block, {place + 1} (r {best[place]:.2f})" for place in chosen]
maps.show_maps(plt.figure(figsize=(8, 3.2)), shown, titles, columns=6)
plt.show()
note(
    f"The six best pairs, no map of the first block twice. Of the {len(best)} channels of the last block, "
    f"{int((best > 0.7).sum())} have one among the first block's with a correlation above 0.7; the median is "
    f"{best.median():.2f}."
)

# %% [markdown]
# ## C-GhostNet: the network for CPUs
#
# It is GhostNet; [its own notebook](ghostnet.ipynb) has its tables.

# %%
report.place("C-GhostNet")

# %% [markdown]
# ## The released G-Ghost-RegNets
#
# Two things are stated of them: next to no accuracy is lost against the RegNetX that each was made from, and more is
# kept than by a smaller RegNetX of the same cost. Both are put to narrow networks on CIFAR-10, the narrower RegNetX
# having as many MACs as the G-Ghost form and a few more parameters.

# %%
report.place("Official code")
report.place("Savings")

# %%
LABELS = {"regnetx": "RegNetX", "g-ghost": "G-Ghost-RegNetX", "regnetx-narrow": "RegNetX, narrower"}
report.show_curves("small", LABELS)
report.show_curves("gpu", LABELS)

# %% [markdown]
# ## What is saved: multiply-adds and activations
#
# Counted on the networks built here. A G-Ghost stage halves the blocks between, but its first and last blocks stay, and
# so do the stem and the first stage, where many activations are: activations fall about half as much as MACs do.

# %%
KINDS = {"params": "parameters", "macs": "MACs", "activations": "activations"}
saved = {
    kind: [100 - 100 * getattr(ours, kind) / getattr(plain, kind) for plain, ours, _ in map(costs, SIZES)]
    for kind in KINDS
}
figure, axes = plt.subplots(figsize=(8.5, 3.2))
for number, (kind, label) in enumerate(KINDS.items()):
    axes.bar(np.arange(len(SIZES)) + 0.27 * (number - 1), saved[kind], 0.25, color=plots.PALETTE[number], label=label)
axes.set_xticks(range(len(SIZES)), list(SIZES))
axes.set(xlabel="size of RegNetX", ylabel="saved by G-Ghost, %")
axes.legend(ncols=3, loc="upper left")
axes.set_ylim(0, 62)
axes.grid(axis="x", visible=False)
plt.show()
note("; ".join(f"{label} {min(saved[kind]):.1f} to {max(saved[kind]):.1f} %" for kind, label in KINDS.items()) + ".")
report.place("RegNet model zoo")
report.place("Official code (counted)")

# %% [markdown]
# ## Accuracy against cost
#
# Accuracies as printed, of networks that different groups trained (RegNetX: 100 epochs by its authors; G-Ghost: a
# recipe that is not published); costs counted here. The table says how far each released network lies above the line
# that joins RegNetX's sizes, on an axis of logarithms. Right: our own runs, mean over seeds, error bars one standard
# deviation. The picture of the README is this one.

# %%
PRINTED = {"RegNet model zoo": "RegNetX", "Official code": "G-Ghost-RegNetX"}


def printed_points(kind: str, unit: float) -> list[plots.Point]:
    """The networks of the model zoo and of the release: the accuracy as printed, the cost as counted."""
    points = []
    for place, family in PRINTED.items():
        for entry in report.of(place):
            if entry.quantity == "top1":
                name = entry.id.split(".")[1]
                builder = f"{'g_ghost_' if family.startswith('G') else ''}regnetx_{name}"
                cost = getattr(count_model(report.slug, builder, {}), kind) / unit
                points.append(plots.Point(family, name, cost, float(parse_printed(entry.says).value), counted=True))
    return points


picture, panels = plt.subplots(1, 3, figsize=(12.5, 3.9), width_ratios=(1, 1, 0.8))
panels[0].set(title="printed accuracy", xlabel="MACs, billions (counted here)", ylabel="ImageNet top-1, %")
panels[1].set(title="printed accuracy", xlabel="activations, millions (counted here)")
for axes, ticks in zip(panels, ((0.2, 0.5, 1, 2, 5, 10, 20), (2, 5, 10, 20, 40)), strict=False):
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
panels[2].set(title=f"here: {report.scale('small')}", xlabel="MACs, millions", ylabel="top-1, %")
plots.accuracy_against_cost(panels[0], printed_points("macs", 1e9), joined=tuple(PRINTED.values()))
plots.accuracy_against_cost(panels[1], printed_points("activations", 1e6), joined=tuple(PRINTED.values()))
own = report.points("small", {arm: (label, "") for arm, label in LABELS.items()}, "macs", 1e6)
plots.accuracy_against_cost(panels[2], own, legend="best")
plots.save_png(picture, report.folder / "accuracy_vs_cost.png")
plt.show()


def above(points: list[plots.Point]) -> dict[str, float]:
    """Points of accuracy of each G-Ghost network above RegNetX's line at its cost, by its name."""
    plain = sorted((point.cost, point.accuracy) for point in points if point.family == "RegNetX")
    costs_, accuracies = zip(*plain, strict=True)
    return {
        point.label: point.accuracy - float(np.interp(np.log(point.cost), np.log(costs_), accuracies))
        for point in points
        if point.family != "RegNetX"
    }


by_macs, by_activations = above(printed_points("macs", 1e9)), above(printed_points("activations", 1e6))
rows = [[name, f"{by_macs[name]:+.2f}", f"{by_activations[name]:+.2f}"] for name in by_macs]
note(tables.markdown_table(["G-Ghost-RegNetX", "at equal MACs", "at equal activations"], rows))

# %% [markdown]
# ## Latency: the claim of the paper, on another machine
#
# `papertrail bench g_ghost` lets networks take turns in one process and reports how many times as fast the G-Ghost one
# is. Bars are medians of the ratios, lines their quartiles, wider where other jobs share the machine; beside each stand
# the ratios that MACs and activations promise. The paper's GPU latencies are not known here, and a bar of another
# machine is another fact.

# %%
measured = read_json(ROOT / "tests" / "benchmarks" / "results.json").get("g_ghost")
if measured is None:
    note("*Not here yet:* `papertrail bench g_ghost` was not run.")
else:
    machine = measured["machine"]
    labels = [f"{one['ours']} against {one['other'].partition(' ')[0]}\n{one['what']}" for one in measured["ratios"]]
    promise = [float(one["other"].partition("(")[2].partition(" ")[0]) for one in measured["ratios"]]
    figure, axes = plt.subplots(figsize=(9, 0.27 * len(labels) + 0.9))
    for place, one in enumerate(measured["ratios"]):
        low, high = one["quartiles"]
        axes.barh(place, one["ratio"], 0.55, color=plots.SKY)
        axes.plot([low, high], [place, place], color=plots.BLACK, linewidth=1.2)
        axes.plot(one["macs_ratio"], place, "D", color=plots.BLUE, label="" if place else "MACs promise")
        axes.plot(promise[place], place, "^", color=plots.VERMILION, label="" if place else "activations promise")
    axes.axvline(1, color=plots.GREY, linestyle=":")
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.invert_yaxis()
    axes.set(
        xlabel="times as fast as the other network", title=f"{machine['cpu']}, one thread, torch {machine['torch']}"
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    axes.grid(axis="y", visible=False)
    plt.show()

# %% [markdown]
# ## The network for Ascend chips: ResNet-101 of G-Ghost stages
#
# The authors' MindSpore repository prints the parameters of *GhostNet_D-101*. A ResNet-101 whose four stages are
# G-Ghost stages, with a 1x1 convolution where the RegNet form takes a slice, has exactly as many. Below, the same with
# slices, in the third stage alone, and at other depths.

# %%
report.place("MindSpore repository")
report.place("MindSpore repository (counted)")

# %% [markdown]
# ## Beside the sections
#
# Claims that stand in no section above, so that none is left out of this notebook.

# %%
report.rest()

# %% [markdown]
# ## What we learned

# %%
report.learned()
