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
# # A ConvNet for the 2020s
#
# Liu, Mao, Wu, Feichtenhofer, Darrell and Xie, CVPR 2022, [arXiv:2201.03545](https://arxiv.org/abs/2201.03545).

# %%
from __future__ import annotations

import re
from typing import Any

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from torch import nn

from papers.convnext.model import Block, convnext
from papers.convnext.roadmap import STEPS, Bottleneck, Step, roadmap
from shared.figures import plots
from shared.figures.report import Report, note
from shared.ledger import tables
from shared.ledger.printed import parse_printed
from shared.measure import count

GIGA = 1e9
report = Report("convnext")
report.opening()

# %% [markdown]
# **The idea.** Vision Transformers of 2021 beat ConvNets, and it was open whether attention or the many design choices
# around it did so. The authors take a ResNet, train it as Transformers are trained, and change it one choice at a time
# into what a Transformer looks like without attention: *ConvNeXt*. At the multiply-adds (MACs) of Swin Transformer it
# is as accurate or more.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Figure 1: accuracy and cost on ImageNet
#
# The accuracies are the paper's, from table 1. The MACs are counted on the networks built here (filled markers) or as
# printed (hollow).

# %%
FAMILIES = {"ConvNeXt": "ConvNeXt", "Swin": "Swin", "DeiT": "ViT and DeiT", "ViT": "ViT and DeiT"}


def table_1(pretrained: bool) -> list[plots.Point]:
    """The networks of table 1 that were, or were not, trained on ImageNet-22K first."""
    cells = {(entry.row, entry.quantity): entry for entry in report.of("Table 1")}
    points = []
    for (row, quantity), accuracy in cells.items():
        if quantity != "top1" or ("(22K)" in row) != pretrained:
            continue
        macs = cells[row, "macs"]
        family = next((name for start, name in FAMILIES.items() if row.startswith(start)), "other ConvNets")
        label = row.removesuffix(" (22K)").replace(" at ", ", ").removesuffix(", 224")
        cost = float(parse_printed(macs.ours or macs.says).value) / GIGA
        points.append(plots.Point(family, label, cost, float(accuracy.says), macs.ours is not None))
    return points


_, panels = plt.subplots(1, 2, figsize=(12, 5))
for axes, pretrained in zip(panels, (False, True), strict=True):
    where = "ImageNet-22K first" if pretrained else "ImageNet-1K alone"
    axes.set(title=f"Trained on {where}", xscale="log", ylabel="ImageNet top-1, % (printed)")
    axes.set_xlabel("G MACs (filled: counted here; hollow: as printed)")
    plots.accuracy_against_cost(axes, table_1(pretrained), families=tuple(FAMILIES.values()))
plt.show()

# %% [markdown]
# ## Figure 2: the roadmap
#
# Every bar is a network. On the left the accuracies that the paper prints for the steps from ResNet-50 to ConvNeXt-T
# (blue) and from ResNet-200 to ConvNeXt-B (grey); in the middle their MACs as counted here, a cross where the paper
# prints another number; on the right our own runs of narrow networks of about equal MACs. The picture of the README is
# this one.

# %%
# Of each row of figure 2 its name here, what the ids of its claims begin with, and the arm of the small protocol.
ROWS = (
    ("ResNet", r"resnet-\d+-enhanced", "resnet"),
    ("stage ratio", "stage-ratio", ""),
    ("patchify stem", "patchify", ""),
    ("depthwise conv", "depthwise", ""),
    ("width", "increase-width", "wide"),
    ("inverted bottleneck", "inverting", ""),
    ("depthwise moved up", "move-up", ""),
    ("kernel 5", "kernel-size-5", ""),
    ("kernel 7", "kernel-size-7", ""),
    ("kernel 9", "kernel-size-9", ""),
    ("kernel 11", "kernel-size-11", ""),
    ("ReLU to GELU", "relu-to-gelu", ""),
    ("fewer activations", "fewer-activations", ""),
    ("fewer norms", "fewer-norms", ""),
    ("BN to LN", "bn-to-ln", ""),
    ("own downsampling: ConvNeXt", "convnext", "convnext"),
)
LOOKS = {"Table 10": (plots.BLUE, 0.38), "Table 11": ("#b0b0b0", 0.0)}


def found(table: str, row: str, quantity: str) -> Any:
    """A claim of a row of table 10 or 11."""
    (entry,) = (one for one in report.of(table) if re.fullmatch(rf"t1[01]\.{row}[a-z0-9-]*\.{quantity}", one.id))
    return entry


def draw_roadmap(axes: Axes, quantity: str) -> None:
    """The accuracies or the MACs of both roadmaps, a row a step."""
    for table, (colour, shift) in LOOKS.items():
        for place, (_, row, _) in enumerate(ROWS):
            entry = found(table, row, quantity)
            if quantity == "top1":
                text = entry.says.partition("±")[0]
                value = float(text)
                axes.barh(place + shift - 0.19, value - 76, 0.36, left=76, color=colour)
                axes.text(value + 0.06, place + shift - 0.19, text, va="center", fontsize=7)
            else:
                value, said = (float(parse_printed(text).value) / GIGA for text in (entry.ours, entry.says))
                axes.barh(place + shift - 0.19, value, 0.36, color=colour)
                shown = max(value, said) + (0.2 if entry.verdict == "exact" else 0.45)
                axes.text(shown, place + shift - 0.19, f"{value:.2f}", va="center", fontsize=7)
                if entry.verdict != "exact":
                    axes.plot(said, place + shift - 0.19, "x", color=plots.VERMILION, markersize=7, zorder=4)
    axes.set_yticks(range(len(ROWS)), [name for name, _, _ in ROWS])
    axes.set_ylim(len(ROWS) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)


LABELS = {"resnet": "ResNet", "wide": "after width", "convnext": "ConvNeXt"}


def draw_small(axes: Axes) -> None:
    """Our own runs: mean over seeds, one standard deviation, in the rows of their steps."""
    results = [(place, report.result("small", arm)) for place, (_, _, arm) in enumerate(ROWS) if arm]
    axes.set_yticks(range(len(ROWS)), [""] * len(ROWS))
    axes.set_ylim(len(ROWS) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    known = [(place, result) for place, result in results if result is not None]
    if not known:
        axes.text(0.5, 0.5, "not run yet", ha="center", transform=axes.transAxes, color=plots.GREY)
        axes.set_xticks([])
        return
    low, high = min(result.mean for _, result in known) - 3, max(result.mean for _, result in known) + 3
    axes.set_xlim(low, high)
    for place, result in known:
        spread = result.std or 0.0
        axes.barh(place, result.mean - low, 0.5, left=low, xerr=spread, capsize=3, color=plots.GREEN)
        axes.text(result.mean + spread + 0.15, place, f"{result.mean:.1f}", va="center", fontsize=7)


roads, panels = plt.subplots(1, 3, figsize=(12.5, 6.2), width_ratios=(1.15, 1, 0.7))
draw_roadmap(panels[0], "top1")
draw_roadmap(panels[1], "macs")
draw_small(panels[2])
panels[0].set(title="The paper", xlabel="ImageNet top-1, % (printed)", xlim=(76, 85))
panels[1].set(title="Counted here", xlabel="G MACs (cross: printed otherwise)", xlim=(0, 20))
panels[1].set_yticklabels([])
panels[2].set(title=f"Run here: {report.scale('small')}", xlabel="top-1, %, ± deviation of the seeds")
panels[0].barh([0], [0], color=LOOKS["Table 10"][0], label="ResNet-50 to ConvNeXt-T")
panels[0].barh([0], [0], color=LOOKS["Table 11"][0], label="ResNet-200 to ConvNeXt-B")
roads.legend(*panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
plots.save_png(roads, report.folder / "roadmap.png")
plt.show()

# %% [markdown]
# ## Figure 3: a block on its way
#
# Read from blocks that were built, at 96 channels: with a depthwise convolution, with the wide layer in the middle, and
# with the depthwise convolution moved up. Every box is a convolution with the channels that it sees and makes.


# %%
def layers(block: nn.Module) -> list[str]:
    """The layers of a block's branch, as words."""
    names = []
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            kind = "d" if layer.groups > 1 else ""
            size = f"{kind}{layer.kernel_size[0]}x{layer.kernel_size[0]}"
            names.append(f"{size}, {layer.in_channels} → {layer.out_channels}")
        elif isinstance(layer, nn.Linear):
            names.append(f"1x1, {layer.in_features} → {layer.out_features}")
        elif not list(layer.children()) and isinstance(layer, nn.BatchNorm2d | nn.LayerNorm | nn.ReLU | nn.GELU):
            kinds = {"BatchNorm2d": "BN", "LayerNorm2d": "LN", "LayerNorm": "LN"}
            names.append(kinds.get(type(layer).__name__, type(layer).__name__))
    return names


def draw_block(axes: Axes, title: str, names: list[str], behind: str = "") -> None:
    """Boxes for convolutions, words between them for what is none, a line round them for the sum, and what follows."""
    y = 0.0
    for name in names:
        if "→" in name:
            box = FancyBboxPatch((-1, y), 2, 0.7, boxstyle="round,pad=0.05", facecolor="#dcebf5", edgecolor=plots.BLUE)
            axes.add_patch(box)
            axes.text(0, y + 0.35, name, ha="center", va="center", fontsize=8)
            y += 1.15
        else:
            axes.text(0.12, y + 0.05, name, ha="left", va="center", fontsize=7, color=plots.VERMILION)
            y += 0.4
    axes.plot([0, 0], [-0.6, y + 0.35], color=plots.GREY, zorder=0)
    axes.plot([0, -1.45, -1.45, 0], [-0.35, -0.35, y + 0.2, y + 0.2], color=plots.GREY, zorder=0)
    axes.text(0, y + 0.2, "+", ha="center", va="center", fontsize=11, color=plots.GREY, backgroundcolor="white")
    axes.text(0.25, y + 0.5, behind, ha="left", va="center", fontsize=7, color=plots.VERMILION)
    axes.set(xlim=(-1.7, 1.5), ylim=(y + 0.8, -0.8), title=title)
    axes.set_axis_off()


def bottleneck(step: str, width: int, in_channels: int) -> Bottleneck:
    """A block of a step that keeps its resolution."""
    return Bottleneck(in_channels, width, 1, Step(step), 0.0)


_, panels = plt.subplots(1, 3, figsize=(8.5, 3.2))
for axes, (title, block) in zip(panels, {
    "(a) depthwise": bottleneck("wide", 96, 384),
    "(b) inverted": bottleneck("inverted", 96, 96),
    "(c) moved up": bottleneck("moved-up", 96, 96),
}.items(), strict=True):  # fmt: skip
    draw_block(axes, title, [name for name in layers(block) if "→" in name])
plt.show()

# %% [markdown]
# ## Figure 4: the blocks of ResNet and of ConvNeXt
#
# Read from the built blocks of the first stage, norms and activations beside the line; layer scale and stochastic depth
# are left out. Swin's block stands between these two in the paper; here it is MMDetection's and is counted alone.

# %%
_, panels = plt.subplots(1, 2, figsize=(6.5, 4.6))
resnet = bottleneck("resnet", 64, 256)
draw_block(panels[0], "ResNet", layers(resnet.body), *layers(resnet.act))
draw_block(panels[1], "ConvNeXt-T", layers(Block(96)))
plt.show()

# %% [markdown]
# ## Table 1: ImageNet

# %%
report.exhibit("Table 1")

# %% [markdown]
# ## Table 2: one resolution, as ViT has it

# %%
report.exhibit("Table 2")

# %% [markdown]
# ## Table 3: detection on COCO
#
# The printed FLOPs are those of the counter that came with MMCV, for images of 1280 x 800. Multiply-adds alone are
# fewer, by less than 0.3 %. The rows of Swin-T, Swin-S and Swin-B quote its authors, who counted otherwise.

# %%
report.exhibit("Table 3")
report.place("Official code (detection)")

# %% [markdown]
# ## Table 4: segmentation on ADE20K
#
# Images are of 2048 x 512, and of 2560 x 640 for networks that were trained on ImageNet-22K first.

# %%
report.exhibit("Table 4")

# %% [markdown]
# ## Table 5: how ConvNeXt is trained
#
# As the recipe `paper` is carried out here; [params.yaml](../papers/convnext/params.yaml) says where each value comes
# from. Pre-training on ImageNet-22K, the table's other half, has no recipe, since that set has no reader here.


# %%
def settings(arm: str) -> list[tuple[str, str]]:
    """What a recipe says, key by key."""
    protocol = report.protocols["paper"]
    told = protocol.recipe_of(arm).model_dump(exclude_defaults=True)
    rows = []
    for key, value in told.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{key} {name}".strip().replace("_", " "), said(one)) for name, one in inner]
    return rows


def said(value: Any) -> str:
    """A setting in words."""
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {said(one)}" for key, one in value.items())
    return " to ".join(map(said, value)) if isinstance(value, tuple) and len(value) == 2 else (
        ", ".join(map(said, value)) if isinstance(value, tuple) else str(value)
    )  # fmt: skip


depths = {size: report.protocols["paper"].arms[f"convnext-{size}"].args["drop_path"]
          for size in ("tiny", "small", "base", "large")}  # fmt: skip
rows = [*settings("convnext-tiny"), ("stochastic depth, T / S / B / L", " / ".join(map(str, depths.values())))]
note(tables.markdown_table(["setting", "here"], rows))

# %% [markdown]
# ## Table 6: how it is fine-tuned at 384 pixels

# %%
note(tables.markdown_table(["setting", "here"], settings("convnext-base-384")))

# %% [markdown]
# ## Table 8: robustness

# %%
report.exhibit("Table 8")

# %% [markdown]
# ## Table 9: the layers of ResNet-50 and ConvNeXt-T
#
# What the paper's table compares is recalled and was not read; it has Swin-T as well. Here the stages are read from the
# built networks, for images of 224 x 224.


# %%
def stages(network: nn.Module, first: type[nn.Module]) -> list[str]:
    """For each stage how often which convolutions stand in a block, without what narrows the resolution."""
    cells = []
    for stage in network.stages:  # type: ignore[union-attr]
        blocks = [block for block in stage.modules() if isinstance(block, first)]
        inside = [name for name in layers(blocks[-1]) if "→" in name]
        cells.append(f"{len(blocks)} x [{'; '.join(inside)}]")
    return cells


with torch.device("meta"):
    networks = {"ResNet-50": (roadmap("resnet"), Bottleneck), "ConvNeXt-T": (convnext("tiny"), Block)}
body = []
for place, cells in enumerate(zip(*(stages(*pair) for pair in networks.values()), strict=True), start=1):
    body.append([f"stage {place}", f"{56 // 2 ** (place - 1)} x {56 // 2 ** (place - 1)}", *cells])
costs = [count(network, (3, 224, 224)) for network, _ in networks.values()]
body.append(["parameters", "", *(f"{cost.params / 1e6:.1f} M" for cost in costs)])
body.append(["MACs", "", *(f"{cost.macs / GIGA:.2f} G" for cost in costs)])
note(tables.markdown_table(["", "places", *networks], body))

# %% [markdown]
# ## Table 10: from ResNet-50 to ConvNeXt-T

# %%
report.exhibit("Table 10")

# %% [markdown]
# What each step is here, in the order of the paper's sections; MACs are for images of 224 x 224.

# %%
with torch.device("meta"):
    steps = []
    for step, section in STEPS.items():
        costs = [count(roadmap(step, start), (3, 224, 224)) for start in ("resnet50", "resnet200")]
        counted = [cell for cost in costs for cell in (f"{cost.params / 1e6:.1f} M", f"{cost.macs / GIGA:.2f} G")]
        steps.append([step, section, *counted])
note(tables.markdown_table(
    ["step", "section", "from ResNet-50: parameters", "MACs", "from ResNet-200: parameters", "MACs"], steps
))  # fmt: skip

# %% [markdown]
# The runs behind the orderings: lines are means over seeds, bands reach from the lowest seed to the highest. The last
# epoch counts; nothing was chosen by the test split.

# %%
report.show_curves("small", LABELS)

# %% [markdown]
# ## Table 11: from ResNet-200 to ConvNeXt-B

# %%
report.exhibit("Table 11")

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
