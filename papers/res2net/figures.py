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
# # Res2Net: scales inside a block
#
# Gao, Cheng, Zhao, Zhang, Yang and Torr, IEEE TPAMI 43(2), 2021, [arXiv:1904.01169](https://arxiv.org/abs/1904.01169).

# %%
from __future__ import annotations

import warnings
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.res2net import DEFAULTS
from papers.res2net.model import Ladder, Splits
from shared import datasets
from shared.figures import maps, plots
from shared.figures.report import Report, note
from shared.ledger import tables
from shared.ledger.claims import Arguments
from shared.ledger.counts import count_model
from shared.ledger.printed import parse_printed

report = Report("res2net")
report.opening()

# %% [markdown]
# **The idea.** A bottleneck's 3x3 convolution becomes a ladder of small ones: its channels are split into *s* groups,
# each group but one is convolved, and what comes out is added to the next group before that is convolved. So the
# groups of a single layer see neighbourhoods of different sizes, at about the cost of the one large convolution. The
# paper calls *s* the *scale*, a dimension of networks beside depth, width and cardinality; *w* is the width of a group.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Figure 2: what the groups of one layer see
#
# The paper draws the module. Here is what it does: a ladder of scale 5, all weights one, is shown a single bright pixel
# in every group; each picture is the answer of one group.

# %%
SIDE, SCALE = 13, 5
ladder: Any = Ladder(Splits(1, SCALE)).eval()
for conv in ladder.convs:
    nn.init.ones_(conv[0].weight)
pixel = torch.zeros(1, SCALE, SIDE, SIDE)
pixel[..., SIDE // 2, SIDE // 2] = 1
with torch.no_grad():
    seen = ladder(pixel)[0].roll(1, 0)  # the group that passes first, as in the paper
reach = [int((plane > 0).any(0).sum()) for plane in seen]
titles = [f"$y_{number}$: {size} x {size} pixels" for number, size in enumerate(reach, 1)]
maps.show_maps(plt.figure(figsize=(9, 2)), seen.log1p(), titles, columns=SCALE)
plt.show()
note(
    "Blocks in a row see the sums of these: a network of many blocks sees many sizes. The first block of every stage "
    "has no such additions in the released networks, which the text does not say."
)

# %% [markdown]
# ## Table 1: networks with the module in them, on ImageNet

# %%
report.exhibit("Table 1")

# %% [markdown]
# ## Table 2: deeper networks

# %%
report.exhibit("Table 2")

# %% [markdown]
# ## Table 3: scale at equal and at growing cost
#
# Left: the accuracies are the paper's (100 less the printed error), the MACs are counted on the networks built here.
# Right: our own runs, mean over seeds, error bars one standard deviation. The picture of the README is this one.

# %%
GROUPS = {
    "t3.resnet50": ("ResNet-50", ""),
    "t3.48w2s": ("cost kept", "48w x 2s"),
    "t3.26w4s": ("cost kept", "26w x 4s"),
    "t3.14w8s": ("cost kept", "14w x 8s"),
    "t3.26w6s": ("cost grown", "26w x 6s"),
    "t3.26w8s": ("cost grown", "26w x 8s"),
    "t3.18w4s": ("cost reduced", "18w x 4s"),
}
# Whose accuracy stands in table 1, of which table 3 repeats it.
ERRORS = {"t3.resnet50": "t1.resnet-50", "t3.26w4s": "t1.res2net-50"}
LABELS = {"scale1": "scale 1", "scale4": "scale 4"}
CIFAR = DEFAULTS["res2next29"][0]


def printed_points() -> list[plots.Point]:
    """The networks of table 3."""
    known = {entry.id: entry for entry in report.of("Table 3")}
    found = []
    for row, (family, label) in GROUPS.items():
        macs, error = known[f"{row}.macs"].ours, known[f"{ERRORS.get(row, row)}.top1"].says
        assert macs is not None
        found.append(plots.Point(family, label, float(parse_printed(macs).value) / 1e9, 100 - float(error), True))
    return found


picture, panels = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(1.6, 1))
panels[0].set(
    title="The paper: Res2Net-50 on ImageNet",
    xlabel="MACs, billions (counted here)",
    ylabel="ImageNet top-1, % (printed)",
)
panels[1].set(
    title="Here: a narrow network of 29 layers on CIFAR-10",
    xlabel="MACs, millions",
    ylabel="top-1, % (mean ± one standard deviation)",
)
plots.accuracy_against_cost(panels[0], printed_points())
own = report.points("small", {arm: (label, "") for arm, label in LABELS.items()}, "macs", 1e6)
plots.accuracy_against_cost(panels[1], own, legend="best")
plots.save_png(picture, report.folder / "accuracy_vs_macs.png")
plt.show()
report.exhibit("Table 3")
report.show_curves("small", LABELS)

# %% [markdown]
# ## Table 4: CIFAR-100

# %%
report.exhibit("Table 4")
report.show_curves("gpu", LABELS)

# %% [markdown]
# ## Figure 4: what decides
#
# The paper draws Grad-CAM of ResNet-50 and Res2Net-50 over photographs of ImageNet's classes, which may not be passed
# on, with weights that are not here. Ours are class activation maps (the same thing, where a mean over places is
# followed by one linear layer) of the two networks of `small`, over a photograph of a cat that scikit-image ships
# (Stéfan van der Walt, CC0), at the 32 x 32 pixels that they were trained on. Their maps have 8 x 8 places,
# and a network trained for so few epochs may well look elsewhere: this shows how such a map is made, and says nothing
# of the paper's claim that Res2Net covers whole objects better.

# %%
CAT = 3  # CIFAR-10's label


def cat(size: int) -> np.ndarray:
    """The central square of the photograph, uint8 (size, size, 3)."""
    from PIL import Image

    with warnings.catch_warnings():  # a progress bar that it might want is not installed
        warnings.simplefilter("ignore")
        from skimage.data import chelsea

    photograph = Image.fromarray(chelsea())
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    return np.asarray(photograph.resize((size, size), Image.Resampling.BOX, (left, top, left + side, top + side)))


def activation_map(network: Any, image: Tensor, label: int) -> tuple[Tensor, float]:
    """What each place of the last stage adds to a class's logit (h, w), and the class's probability."""
    with torch.no_grad():
        features = network.eval().features(image[None])["stage3"][0]
        places = torch.einsum("c,chw->hw", network.classifier.weight[label], features) / features[0].numel()
        return places, float(network(image[None]).softmax(1)[0, label])


def overlay(axes: Any, photograph: np.ndarray, places: Tensor, title: str) -> None:
    """Draw what speaks for the class over the photograph."""
    large = functional.interpolate(places[None, None], photograph.shape[:2], mode="bicubic")[0, 0].clamp(min=0)
    axes.imshow(photograph)
    axes.imshow(large, cmap="inferno", alpha=0.55)
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)


networks = {label: report.checkpoint(f"{arm}-small-0") for arm, label in LABELS.items()}
present = {label: found for label, found in networks.items() if found is not None}
if present:
    _, row_of = plt.subplots(1, 1 + len(present), figsize=(3.2 * (1 + len(present)), 3.2), squeeze=False)
    row_of[0, 0].imshow(cat(32))
    row_of[0, 0].set_axis_off()
    row_of[0, 0].set_title("what the networks see", fontsize=9)
    for axes, (label, (network, card)) in zip(row_of[0, 1:], present.items(), strict=True):
        spec = datasets.spec(card.data)
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
        seen_image = (torch.from_numpy(cat(32).copy()).permute(2, 0, 1) / 255 - mean) / std
        places, sure = activation_map(network, seen_image, CAT)
        overlay(axes, cat(300), places, f"{label}: cat, {100 * sure:.0f} %")
    plt.show()

# %% [markdown]
# ## Figure 5: scale, cardinality and depth as ways to grow
#
# The paper trains 16 networks on CIFAR-100, each grown from one of 29 layers with 6 groups of 24 channels and scale 1
# in a single dimension, and finds the steepest rise for scale. Its curves are not printed as numbers. Left: what each
# dimension costs, counted on the very networks. Right: the networks of table 4 among them, parameters counted with ten
# outputs as the table does, accuracies as printed.

# %%
WAYS: dict[str, tuple[str, tuple[int, ...]]] = {
    "scale": ("scale", (1, 2, 3, 4, 5, 6)),
    "cardinality": ("cardinality", (6, 12, 18, 24, 30, 36)),
    "depth": ("depth", (29, 56, 83, 110, 137, 164)),
}
costs = {
    name: [count_model("res2net", "res2next29", {"scale": 1, key: value}, classes=10).params / 1e6 for value in values]
    for name, (key, values) in WAYS.items()
}
_, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
for place, (name, sizes) in enumerate(costs.items()):
    left.plot(range(1, 7), sizes, plots.MARKERS[place] + "-", color=plots.PALETTE[place], label=name)
left.set(xlabel="step along the dimension", ylabel="parameters, millions (counted)")
left.legend()
rows = {
    "ResNeXt-29": ("resnext29-8c64w", "resnext29-16c64w"),
    "Res2NeXt-29": ("6c24w4s", "8c25w4s", "6c24w6s"),
}
known = {entry.id: entry for entry in report.of("Table 4")}
points = [
    plots.Point(
        family,
        row.removeprefix("resnext29-"),
        float(parse_printed(known[f"t4.{row}.params"].ours or "").value) / 1e6,
        100 - float(known[f"t4.{row}.top1"].says),
        counted=True,
    )
    for family, names in rows.items()
    for row in names
]
right.set(xlabel="parameters, millions (counted)", ylabel="CIFAR-100 top-1, % (printed)")
plots.accuracy_against_cost(right, points, joined=tuple(rows))
plt.show()
report.exhibit("Figure 5")

# %% [markdown]
# ## Table 5: detection

# %%
report.exhibit("Table 5")

# %% [markdown]
# The paper prints no size of a detector. Those with feature pyramids are built here from MMDetection's own files, for
# images of 800 x 1344 pixels and 80 classes; the one on Res2Net-101-v1b is as large as MMDetection's own.

# %%
BUILT: tuple[tuple[str, Arguments], ...] = (
    ("faster_rcnn", {"backbone": "resnet50"}),
    ("faster_rcnn", {"backbone": "res2net50"}),
    ("faster_rcnn", {"backbone": "res2net101_v1b"}),
    ("mask_rcnn", {"backbone": "resnet50"}),
    ("mask_rcnn", {"backbone": "res2net50", "width": 48, "scale": 2}),
    ("mask_rcnn", {"backbone": "res2net50"}),
    ("mask_rcnn", {"backbone": "res2net50", "width": 18, "scale": 6}),
    ("mask_rcnn", {"backbone": "res2net50", "width": 14, "scale": 8}),
    ("mask_rcnn", {"backbone": "res2net101_v1b"}),
)
lines = []
for name, args in BUILT:
    found = count_model("res2net", name, args)
    stated = ", ".join(f"{key} {value}" for key, value in args.items() if key != "backbone")
    lines.append([name, args["backbone"], stated, f"{found.params / 1e6:.2f}M", f"{found.macs / 1e9:.1f}G"])
note(tables.markdown_table(["detector", "backbone", "", "parameters", "MACs"], lines))

# %% [markdown]
# ## Table 8: instance segmentation

# %%
report.exhibit("Table 8")

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
