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
# # Adder detectors: object detection by sums of absolute differences
#
# Chen, Xu, Dong, Xu and Wang, *An Empirical Study of Adder Neural Networks for Object Detection*, NeurIPS 2021,
# [arXiv:2112.13608](https://arxiv.org/abs/2112.13608); with Chen, Wang, Xu, Shi, Xu, Tian and Xu, *AdderNet: Do We
# Really Need Multiplications in Deep Learning?*, CVPR 2020, [arXiv:1912.13200](https://arxiv.org/abs/1912.13200).

# %%
from __future__ import annotations

import functools
import math
import re
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn

from shared import datasets
from shared.builders import build
from shared.detection.boxes import detection_set
from shared.figures import maps, plots
from shared.figures.boxes import show_detections
from shared.figures.report import Report, note
from shared.files import read_json
from shared.ledger.counts import count_model
from shared.ledger.printed import parse_printed
from shared.weights.card import Identity

SLUG = "adder_detection"
report = Report(SLUG)
PAPER, PROTOCOLS = report.folder, report.protocols
report.opening()

# %% [markdown]
# **The idea.** An adder layer answers with the negative sum of |patch - filter|: two additions for each tap where a
# convolution has one multiplication and one addition. With 32-bit numbers that costs 1.8 instead of 4.6 pJ. The paper
# puts such layers into the backbone (B), the neck (N) and the head (H) of detectors and studies what they need there.
#
# This notebook reads results; it trains nothing. A number that comes from training is never compared with that of a
# smaller run: from those only an *ordering* is judged, by a criterion that was written first.
#
# ## Figure 1: accuracy against energy
#
# The AP is the paper's, on COCO, after 12 epochs where no other number (ep.) is given; the energy is counted on the
# detectors built here (filled markers) or as printed (hollow): 0.9 pJ for each addition, 3.7 pJ for each multiplication
# of 32-bit numbers, and nothing for memory. The picture of the README is this one.

# %%
SWITCHES = {"(B)": "adder backbone (B)", "(B+N)": "adder backbone and neck (B+N)", "(B+N+H)": "adder head too (B+N+H)"}
CONVOLUTIONS = "convolutions"


def family_of(row: str) -> str:
    """Which parts of a row's detector add."""
    if "Adder" not in row:
        return CONVOLUTIONS
    return next((family for mark, family in SWITCHES.items() if mark in row), "adder, parts not named")


def short(row: str) -> str:
    """A row's name without what colour and marker say."""
    for word in ("Adder ", *(f" {mark}" for mark in SWITCHES)):
        row = row.replace(word, "")
    return row


def energy_points() -> list[plots.Point]:
    """The rows of table 5; a detector has one energy and an AP for each length of training."""
    here = report.of("Table 5")
    energies = {entry.row: entry for entry in here if entry.quantity == "energy_mj"}
    points = []
    for entry in here:
        detector = re.sub(r", \d+ epochs$", "", entry.row)
        if entry.quantity != "ap" or detector not in energies:
            continue
        energy = energies[detector]
        cost = float(parse_printed(energy.ours or energy.says).value)
        label = short(entry.row).replace(" epochs", " ep.").removesuffix(", 12 ep.")
        points.append(plots.Point(family_of(entry.row), label, cost, float(entry.says), energy.ours is not None))
    return points


picture, axes = plt.subplots(figsize=(11, 7))
axes.set(
    title="The paper: detectors on COCO",
    xlabel="energy of an image, mJ (filled: counted here; hollow: as printed)",
    ylabel="COCO AP (printed)",
)
plots.accuracy_against_cost(axes, energy_points(), families=(CONVOLUTIONS, *SWITCHES.values()))
plots.save_png(picture, PAPER / "ap_vs_energy.png")
plt.show()

# %% [markdown]
# ## Figure 2: the statistics of normalisation and the weights, adder against convolution
#
# The sums of an adder layer are large and negative, so that its normalisation has much to do, and what it must do
# changes as the weights change. Two kept classifiers, equal but for the switch, layer by layer: over the channels,
# the mean of the running mean's absolute value and the mean running variance; and the standard deviation of the
# weights, trained and at first (drawn anew here, from the same distributions). The first layer multiplies in both.

# %%
CLASSIFIERS = {"adder": "adder-resnet20-0", "convolution": "conv-resnet20-0"}
kept = functools.cache(report.checkpoint)  # says once what is missing


def filters(model: nn.Module) -> dict[str, Tensor]:
    """The weights of every convolution and adder layer (O, I, h, w), by name."""
    return {name: value.detach() for name, value in model.named_parameters() if value.ndim == 4}


def channel_means(model: nn.Module) -> tuple[list[float], list[float]]:
    """Of every normalisation of feature maps: the mean absolute running mean, and the mean running variance."""
    layers: list[Any] = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    return (
        [float(layer.running_mean.abs().mean()) for layer in layers],
        [float(layer.running_var.mean()) for layer in layers],
    )


def fresh(card: Identity) -> nn.Module:
    """The network of a card as it is before training."""
    torch.manual_seed(card.seed)
    return build(SLUG, card.model, card.args, datasets.spec(card.data).classes)


classifiers = {kind: loaded for kind, name in CLASSIFIERS.items() if (loaded := kept(name)) is not None}
if len(classifiers) == len(CLASSIFIERS):
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.2))
    for place, (kind, (network, card)) in enumerate(classifiers.items()):
        style: dict[str, Any] = {"color": plots.PALETTE[place], "marker": plots.MARKERS[place], "ms": 3.5}
        for axes, means in zip(panels, channel_means(network), strict=False):
            axes.plot(range(1, len(means) + 1), means, label=kind, **style)
        for when, state in (("trained", network), ("at first", fresh(card))):
            spreads = [float(weights.std()) for weights in filters(state).values()]
            look = style | ({} if when == "trained" else {"fillstyle": "none", "ls": ":"})
            panels[2].plot(range(1, len(spreads) + 1), spreads, label=f"{kind}, {when}", **look)
    for axes, title in zip(
        panels, ("|running mean|", "running variance", "standard deviation of weights"), strict=True
    ):
        axes.set(title=title, xlabel="layer", yscale="log")
        axes.legend(loc="best")
    plt.show()
# %% [markdown]
# AdderNet says that the weights of adder layers are Laplacian, those of convolutions Gaussian. Here both laws are
# fitted to every layer but the first by maximum likelihood. Positive bars: Laplace explains a weight better, by so many
# nats on average; negative bars: Gauss does. The histograms are those of the largest layer.

# %%


def log_likelihoods(weights: Tensor) -> tuple[float, float]:
    """The mean log-likelihood of a weight under the Laplace and under the Gauss law that fit best."""
    values = weights.double().flatten()
    spread = float((values - values.median()).abs().mean())
    return -math.log(2 * math.e * spread), -0.5 * math.log(2 * math.pi * math.e * float(values.var(correction=0)))


if len(classifiers) == len(CLASSIFIERS):
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.2))
    sentences = []
    for place, (kind, pair) in enumerate(classifiers.items()):
        layers = dict(list(filters(pair[0]).items())[1:])
        gains = [laplace - gauss for laplace, gauss in map(log_likelihoods, layers.values())]
        colour = plots.PALETTE[place]
        panels[2].bar(np.arange(1, len(gains) + 1) + 0.4 * place - 0.2, gains, 0.4, color=colour, label=kind)
        sentences.append(f"{kind}: Laplace fits better in {sum(gain > 0 for gain in gains)} of {len(gains)} layers")
        widest = max(layers, key=lambda name: layers[name].numel())
        values = layers[widest].flatten().double()
        low, high = (float(values.quantile(share)) for share in (0.002, 0.998))
        grid = np.linspace(low, high, 200)
        centre, spread = float(values.median()), float((values - values.median()).abs().mean())
        mean, deviation = float(values.mean()), float(values.std(correction=0))
        panels[place].hist(values.numpy(), bins=60, range=(low, high), density=True, color=colour, alpha=0.35)
        laplace = np.exp(-np.abs(grid - centre) / spread) / (2 * spread)
        gauss = np.exp(-((grid - mean) ** 2) / (2 * deviation**2)) / (deviation * math.sqrt(2 * math.pi))
        panels[place].plot(grid, laplace, color=plots.BLACK, label="Laplace")
        panels[place].plot(grid, gauss, color=plots.ORANGE, ls="--", label="Gauss")
        panels[place].set(title=f"{kind}: {widest.removesuffix('.weight')}", xlabel="weight", ylabel="density")
        panels[place].legend()
    panels[2].axhline(0, color=plots.GREY, lw=0.8)
    panels[2].set(title="Laplace over Gauss", xlabel="layer", ylabel="mean log-likelihood ratio, nats")
    panels[2].legend()
    plt.show()
    note("; ".join(sentences) + ". The histograms are those of the largest layer.")

# %% [markdown]
# ## Table 1: what training an adder detector needs

# %%
report.exhibit("Table 1")

# %% [markdown]
# ## Table 2: backbones

# %%
report.exhibit("Table 2")
report.show_curves("small", {"conv": "convolutions", "adder": "adder layers"})

# %% [markdown]
# AdderNet's own table: its operations are counted here. The weights that its authors published for ResNet-20, on the
# 10,000 test images (`python -m papers.adder_detection.upstream`):

# %%
report.published()
report.place("AdderNet Table 2")
report.show_curves("resnet20", {"conv": "convolutions", "adder": "adder layers"})

# %% [markdown]
# ## Figure 4: how much of the last features is zero?
#
# The paper counts 92 % for an adder ResNet-50 and 63 % for its twin, and builds R-PAFPN on that. Here two kept small
# classifiers see the two photographs that scikit-learn ships, each cut into 64 squares of 32 x 32 pixels, the size
# they were trained on. A row is a square, a column a channel of the last stage; the darker, the
# more zeros.

# %%
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
SQUARE, SQUARES = 32, 8


def squares(name: str) -> Tensor:
    """A photograph's central square, cut into 64: (64, 3, 32, 32), from 0 to 1."""
    whole = maps.sample_picture(name, SQUARE * SQUARES).float() / 255
    cut = whole.unfold(1, SQUARE, SQUARE).unfold(2, SQUARE, SQUARE)
    return cut.permute(1, 2, 0, 3, 4).reshape(-1, 3, SQUARE, SQUARE)


def last_features(network: Any, card: Identity) -> Tensor:
    """The last stage's output (128, C, h, w) for the squares of both photographs."""
    spec = datasets.spec(card.data)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
    with torch.no_grad():
        stages = network.eval().features((torch.cat([*map(squares, PHOTOGRAPHS)]) - mean) / std)
    return [*stages.values()][-1]


if len(classifiers) == len(CLASSIFIERS):
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.4))
    sentences = []
    for axes, (kind, (network, card)) in zip(panels, classifiers.items(), strict=True):
        features = last_features(network, card)
        zeros = 100 * float((features == 0).float().mean())
        sentences.append(f"{kind}: {zeros:.0f} % zeros")
        axes.imshow((features > 0).float().mean(dim=(2, 3)), cmap="gray", vmin=0, vmax=1, aspect="auto")
        axes.set(title=f"{kind}: {zeros:.0f} % of the last features are zero", xlabel="channel", ylabel="square")
        axes.grid(visible=False)
    plt.show()
    note("; ".join(sentences) + ". The paper: 92 % and 63 %, on other networks and other images.")
report.exhibit("Figure 4")

# %% [markdown]
# ## Table 4: necks

# %%
report.exhibit("Table 4")

# %% [markdown]
# ## Table 5: operations, energy and AP of the detectors

# %%
report.exhibit("Table 5")

# %% [markdown]
# What the switch does to two detectors at 800 x 1344, R-50: every bar is counted here. R-PAFPN with its further 3x3
# layers is no row of the paper: its rows bear the cost of an FPN.

# %%
FULL = (3, 800, 1344)
NECKS: dict[str, dict[str, Any]] = {
    "convolutions": {},
    "B": {"adder": "B"},
    "B+N": {"adder": "B+N"},
    "B+N, R-PAFPN": {"adder": "B+N", "neck": "r-pafpn", "shortcuts": True},
    "B+N+H": {"adder": "B+N+H"},
}
GIGA = 1e9
bars = [
    (f"{title} {switch}", count_model(SLUG, builder, args, FULL, 80))
    for builder, title in {"fcos": "FCOS,", "retinanet": "RetinaNet,"}.items()
    for switch, args in NECKS.items()
]
figure, axes = plt.subplots(figsize=(8, 3.8))
costs = [cost for _, cost in bars]
places = np.arange(len(bars))
multiplications, additions = (
    np.array([getattr(cost, what) / GIGA for cost in costs]) for what in ("multiplications", "additions")
)
axes.barh(places - 0.2, multiplications, 0.38, color=plots.VERMILION, label="multiplications")
axes.barh(places + 0.2, additions, 0.38, color=plots.BLUE, label="additions")
for place, cost in enumerate(costs):
    longest = max(multiplications[place], additions[place])
    axes.text(longest + 5, place, f"{float(cost.energy_mj):.0f} mJ", va="center", fontsize=8)
axes.set_yticks(places, [name for name, _ in bars])
axes.invert_yaxis()
axes.grid(axis="y", visible=False)
axes.margins(x=0.12)
axes.set_xlabel("operations for one image, 10⁹")
axes.legend(loc="upper center", bbox_to_anchor=(0.4, 1.12), ncols=2)
plt.show()

# %% [markdown]
# ## Table 6: PASCAL VOC

# %%
report.exhibit("Table 6")

# %% [markdown]
# ## Figure 7: detections
#
# Scenes of handwritten digits from the test split (made here, of MNIST digits on textured grounds), and what the first
# seed's detectors find on this machine: of each scene the three detections with the highest scores, orange with name
# and score; blue is where a digit is. After so short a training no score is high.

# %%
DETECTORS = {"conv": "FCOS, convolutions", "adder": "adder FCOS (B+N)"}
SCENES, BEST = 5, 3
seed = PROTOCOLS["mini"].seed
detections = {
    arm: read_json(file)
    for arm in DETECTORS
    if (file := PAPER / "runs" / "mini" / arm / "detections" / f"{seed}.json").exists()
}
if detections:
    images = detection_set(PROTOCOLS["mini"].data)
    names = dict(zip(images.category_ids, images.classes, strict=True))
    scenes = images.read("test")[:SCENES]
    figure, grid = plt.subplots(len(detections), SCENES, figsize=(2.1 * SCENES, 2.2 * len(detections)), squeeze=False)
    for line, (arm, found_here) in zip(grid, detections.items(), strict=True):
        for number, (axes, scene) in enumerate(zip(line, scenes, strict=True)):
            ranked = sorted((one for one in found_here if one["image_id"] == scene.id), key=lambda one: -one["score"])
            show_detections(axes, scene, ranked[:BEST], names, at_least=0, title="" if number else DETECTORS[arm])
    plt.show()
else:
    note("*Not here:* no detector of `mini` has been trained on this machine.")

# %% [markdown]
# ## Table A: eight bits

# %%
report.exhibit("Table A")

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
