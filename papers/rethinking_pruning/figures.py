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
# # Rethinking the Value of Network Pruning: train the small network from scratch
#
# Liu, Sun, Zhou, Huang and Darrell, ICLR 2019, [arXiv:1810.05270](https://arxiv.org/abs/1810.05270).
#
# **The question.** Pruning trains a large network, takes some of it out, and fine-tunes the rest. Does the rest need
# the weights that it inherits? The paper trains the same small network from new weights, for the epochs of the large
# one (scratch-E) or for as much computation (scratch-B), and finds it at least as good where whole filters or
# channels went.
#
# **How to read a verdict.** A number that can be counted is built and counted here: `exact` when ours rounds to what
# is printed, `deviates` otherwise, always with the reason; what a test shows is `within`. A number that is the
# outcome of training is never compared with a smaller run: from those only an *ordering* is judged, by a criterion
# written before the run: `supported`, `contradicted` or `inconclusive`. What was not done is `not attempted`, with
# the command that would do it where there is one.
#
# **How the numbers are known.** No copy of the paper with its tables was at hand. Most numbers are `recalled`, some
# are read in transcriptions of others (`read_secondary`) or on the pages of the released code (`read`).
#
# This notebook reads results; it trains nothing.

# %%
from __future__ import annotations

import re
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from shared.figures import plots
from shared.figures.report import Report, note
from shared.files import read_json
from shared.ledger import Entry, tables
from shared.ledger.evidence import REPEATED, ArmResult, arm_result
from shared.ledger.judge import count_model
from shared.training.recipe import input_shape
from shared.weights.storage import load_weights

SLUG = "rethinking_pruning"
report = Report(SLUG)
PAPER, PROTOCOLS = report.folder, report.protocols
SAYS = {entry.id: entry.says for entry in report.entries}
WAYS = {"tuned": "fine-tuned", "scratch-e": "scratch-E", "scratch-b": "scratch-B"}


def of(*places: str) -> list[Entry]:
    """The claims that stand in `places`, without those of runs: they have a section of their own."""
    return [entry for entry in report.of(*places) if entry.check != "run"]


def show_printed(prefix: str) -> None:
    """The accuracies whose claims begin with `prefix` as the paper has them: a line for each pruned network."""
    rows: dict[str, dict[str, str]] = {}
    names: dict[str, str] = {}
    for entry in report.entries:
        if found := re.fullmatch(re.escape(prefix) + r"\.(.+)\.(tuned|scratch-e|scratch-b)\.top1", entry.id):
            rows.setdefault(found[1], {})[found[2]] = entry.says
            names[found[1]] = (
                entry.row.rpartition(", ")[0] if entry.row.count(",") == 1 else entry.row.rsplit(", ", 2)[0]
            )
    head = ["network", *WAYS.values()]
    note(
        tables.markdown_table(
            head, [[names[row], *(cells.get(way, "") for way in WAYS)] for row, cells in rows.items()]
        )
    )


note(tables.verdict_line(report.entries) + "\n\n" + tables.overview(report.entries))

# %% [markdown]
# ## Table 1: filters by their L1 norms
#
# What is printed, in one view; then every number beside ours.

# %%
show_printed("t1")
note(tables.section(of("Table 1")))

# %% [markdown]
# ## Tables 2 and 3: ThiNet and reconstruction by regression
#
# Printed as differences to unpruned networks of another framework. The resulting networks are built and counted here.

# %%
note("### Table 2\n\n" + tables.section(of("Table 2")))
note("### Table 3\n\n" + tables.section(of("Table 3")))

# %% [markdown]
# ## Table 4: Network Slimming

# %%
for data, prefix in (("CIFAR-10", "t4.c10"), ("CIFAR-100", "t4.c100")):
    note(f"### Table 4: {data}")
    show_printed(prefix)
    note(tables.section(of(f"Table 4 ({data})")))

# %% [markdown]
# ## Table 5: sparse structure selection

# %%
note(tables.section(of("Table 5")))

# %% [markdown]
# ## Table 6: single weights by their magnitude
#
# Here the paper has exceptions: with 95 % gone on CIFAR-10, and on ImageNet, fine-tuning is ahead in most rows.

# %%
for data, prefix in (("CIFAR-10", "t6.c10"), ("CIFAR-100", "t6.c100"), ("ImageNet", "t6.imagenet")):
    note(f"### Table 6: {data}")
    show_printed(prefix)
    note(tables.section(of(f"Table 6 ({data})")))

# %% [markdown]
# ## The pages of the released code

# %%
CODE = sorted({entry.where for entry in report.entries if entry.where.startswith("Released code")})
for place in CODE:
    note(f"### {place}\n\n" + tables.section(of(place)))

# %% [markdown]
# ## The budget of scratch-B
#
# As many more epochs as the pruned network has fewer multiply-adds than the full one: dots are computed from our
# counts, strokes are printed. The code for ImageNet stops at twice the epochs of scratch-E.

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
# ## Fine-tuned, scratch-E and scratch-B side by side: our runs
#
# Of every seed its top-1 accuracy (small points), their mean and its 95 % interval. Dotted: the mean of the full
# network. `mini` was run by the machine that made this notebook; of `digits`, `small` and `long` the pinned runs are
# shown. `long` has three times the epochs of `small` for everything.

# %%
METHODS = {"l1": "filters by L1 norm", "thinet": "ThiNet", "regression": "regression", "soft": "soft filter pruning",
           "slim": "channels by scale", "gate": "branches by gate", "weights": "single weights",
           "low": "single weights, rate 0.01"}  # fmt: skip
# Methods that are told how wide each layer is to be end with the same network, so that they share its scratch runs.
STRUCTURE = {"thinet": "l1", "regression": "l1"}
HIGH, TICKET = "fine-tuned\nat 0.1", "winning\nticket"
EXTRA = {"l1": {"tuned-l1-high": HIGH}}
COLOURS = dict(zip([*WAYS.values(), HIGH, TICKET], plots.PALETTE, strict=False))
OURS = ("mini", "digits", "small", "long")
ORIGIN = {"slim": "sparse", "soft": "soft", "gate": "gated", "low": "base-low"}  # what was pruned; elsewhere `base`


def result(protocol: str, arm: str, metric: str = "top1") -> ArmResult | None:
    """What the runs of an arm found, when params.yaml has it and it was run."""
    plan = PROTOCOLS[protocol]
    return arm_result(SLUG, protocol, plan, arm, metric) if arm in plan.arms else None


def half_interval(found: ArmResult) -> float:
    """Half of the 95 % interval of the mean; 0 for a single seed."""
    seeds = len(found.values)
    return float(stats.t.ppf(0.975, seeds - 1)) * found.std / seeds**0.5 if found.std is not None else 0.0


def point(axes: Axes, place: float, found: ArmResult, colour: str) -> None:
    """A mean with its interval, and the seeds beside it."""
    axes.errorbar([place], [found.mean], [half_interval(found)], fmt="o", color=colour, capsize=4)
    axes.plot([place + 0.18] * len(found.values), [*found.values.values()], ".", color=colour, alpha=0.5, ms=5)


def arms_of(method: str) -> dict[str, str]:
    """The arms to be compared, with their labels."""
    trained = {
        f"{way}-{method if way == 'tuned' else STRUCTURE.get(method, method)}": name for way, name in WAYS.items()
    }
    return trained | EXTRA.get(method, {}) | {f"ticket-{method}": TICKET}


def side_by_side(protocol: str) -> None:
    """A panel for each method; a line when there is no run."""
    methods = [
        method
        for method in METHODS
        if any(result(protocol, f"{way}-{method}") is not None for way in ("tuned", "ticket"))
    ]
    if not methods:
        note(f"*Not here:* no arm of `{protocol}` has a run yet.")
        return
    columns = min(len(methods), 4)
    rows = -(-len(methods) // columns)
    size = (3.6 * columns, 3.2 * rows)
    grid = plt.subplots(rows, columns, figsize=size, squeeze=False)[1]
    for axes, method in zip(grid.flat, methods, strict=False):
        shown = {label: one for arm, label in arms_of(method).items() if (one := result(protocol, arm)) is not None}
        for place, (label, one) in enumerate(shown.items()):
            point(axes, place, one, COLOURS[label])
        full = result(protocol, ORIGIN.get(method, "base"))
        if full is not None:
            axes.axhline(full.mean, color=plots.GREY, linestyle=":")
        axes.set_xticks(range(len(shown)), [*shown], fontsize=7)
        axes.set_title(f"{protocol}: {METHODS[method]}", fontsize=9)
    for axes in grid.flat[len(methods) :]:
        axes.axis("off")
    for line in grid:
        line[0].set_ylabel("test top-1, %")
    plt.show()


for protocol in OURS:
    side_by_side(protocol)

# %% [markdown]
# ## Accuracy against multiply-adds and parameters
#
# Zeros among single weights do not count. The picture of the README is the one of `long`.

# %%
SHAPES = {"base": "full"} | WAYS | {"high": "fine-tuned at 0.1"}


def size_and_accuracy(protocol: str, arm: str) -> dict[str, ArmResult]:
    """top1, params and macs of an arm; empty without a run."""
    spec = PROTOCOLS[protocol].arms[arm]
    if spec.of is not None:
        numbers = {name: result(protocol, arm, name) for name in ("top1", "params", "macs")}
    else:
        shape = input_shape(PROTOCOLS[protocol])
        channels = {} if shape[0] == 3 else {"in_channels": shape[0]}
        cost = count_model(SLUG, spec.builder, {**spec.args, **channels}, shape, 10)
        sizes = {"params": ArmResult({0: float(cost.params)}), "macs": ArmResult({0: float(cost.macs)})}
        numbers = {"top1": result(protocol, arm), **sizes}
    return {} if numbers["top1"] is None else {name: number for name, number in numbers.items() if number is not None}


def scatter(protocol: str) -> plt.Figure | None:
    """Every arm of a protocol: accuracy against multiply-adds and against parameters; None without a run."""
    found = {arm: numbers for arm in PROTOCOLS[protocol].arms if (numbers := size_and_accuracy(protocol, arm))}
    if not found:
        note(f"*Not here:* no arm of `{protocol}` has a run yet, so that this figure cannot be made.")
        return None
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
    marks = dict(zip(SHAPES, plots.MARKERS, strict=False))
    colours = dict(zip(METHODS, plots.PALETTE, strict=False))
    seen = set()
    for axes, what, label in ((panels[0], "macs", "multiply-adds, M"), (panels[1], "params", "parameters, M")):
        for arm, numbers in found.items():
            way = next((way for way in SHAPES if arm.startswith(way)), None) if not arm.endswith("-high") else "high"
            if way is None or arm.endswith("-low"):
                continue  # tickets, and what they are compared with, have the size of the arms that are here
            method = next((method for method in METHODS if method in arm.split("-")), "")
            seen |= {method, way}
            axes.errorbar([numbers[what].mean / 1e6], [numbers["top1"].mean], [half_interval(numbers["top1"])],
                          fmt=marks[way], color=colours.get(method, plots.GREY), capsize=3)  # fmt: skip
        axes.set_xlabel(label)
    for method, label in METHODS.items():
        if method in seen:
            panels[1].plot([], [], "o", color=colours[method], label=label)
    for way, label in SHAPES.items():
        if way in seen:
            panels[1].plot([], [], marks[way], color=plots.GREY, label=label)
    panels[0].set(ylabel="test top-1, %", title=f"{protocol}: mean and 95 % interval")
    panels[1].legend(fontsize=8, bbox_to_anchor=(1.02, 1), loc="upper left")
    return figure


scatter("mini")
plt.show()
scatter("small")
plt.show()
picture = scatter("long")
if picture is None:
    picture, axes = plt.subplots(figsize=(10, 3.8))
    axes.text(0.5, 0.5, "not here: no run of `long` is pinned yet", ha="center", transform=axes.transAxes)
plots.save_png(picture, PAPER / "accuracy_vs_macs.png")
plt.show()

# %% [markdown]
# ## Where the weights are
#
# Weights of the convolutions, seed 0, with the zeros left out. Single weights: what magnitude pruning keeps lies away
# from zero and fine-tuning leaves it there, a network trained from new weights has many small ones. Whole filters:
# fine-tuned and new weights are spread alike if inherited weights do not matter.


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


def convolutions(state: Mapping[str, Tensor]) -> NDArray[np.float32]:
    """All weights of convolutions that are not zero."""
    weights = torch.cat([tensor.flatten() for tensor in state.values() if tensor.dim() == 4])
    return weights[weights != 0].numpy()


def histograms(protocol: str, method: str, title: str) -> None:
    """A panel for each way to the pruned network, and one for the full network."""
    ways = {"base": "full", f"tuned-{method}": "fine-tuned", f"scratch-b-{method}": "scratch-B"}
    found = {label: convolutions(state) for arm, label in ways.items() if (state := ended(protocol, arm)) is not None}
    if not found:
        return
    panels = plt.subplots(1, len(found), figsize=(3.4 * len(found), 2.7), sharex=True, squeeze=False)[1]
    edge = max(float(np.quantile(np.abs(values), 0.995)) for values in found.values())
    for axes, (label, values) in zip(panels[0], found.items(), strict=True):
        axes.hist(values, np.linspace(-edge, edge, 81), color=plots.BLUE, density=True)
        axes.set(title=label, xlabel="weight")
    panels[0, 0].set_ylabel(f"{protocol}, {title}: density")
    plt.show()


for protocol in ("mini", "long"):
    histograms(protocol, "l1", "filters pruned")
    histograms(protocol, "weights", "single weights pruned")

# %% [markdown]
# ## What was trained here
#
# Lines are means over seeds, bands reach from the lowest seed to the highest. The last epoch counts; nothing was
# chosen by the test split. The protocols stand in full in `papers/rethinking_pruning/params.yaml`.

# %%
for protocol in OURS:
    trained = [arm for arm, spec in PROTOCOLS[protocol].arms.items() if spec.prune is None]
    for method in METHODS:
        follow = {arm: arm for arm in trained if arm.endswith(f"-{method}") or f"-{method}-" in arm}
        if len(follow) > 1:
            origin = ORIGIN.get(method, "base")
            report.show_curves(protocol, {origin: origin} | follow)

# %% [markdown]
# Each claim about an ordering, with the criterion that was written before the run: the dot is the difference of mean
# top-1 (the first arm minus the second), the bar its 95 % interval (Welch), the black stroke the margin. A claim is
# supported when the whole bar lies to the right of its stroke, contradicted when it lies to the left.

# %%
report.show_orderings("difference of top-1, points")

# %% [markdown]
# ## Independent weights
#
# ResNet-20, -32, -44 and -56 that Yerlan Idelbayev trained on CIFAR-10 and published, in our own network. The
# accuracies that he published are of the original test images. Here those were not at hand: the test images are
# JPEGs, which cost about ten points, and the originals are the first 1,000 of the *training* split, which the
# networks have seen. Neither column is to stand beside the published one as if it were the same measurement.

# %%
PUBLISHED = {"resnet20": "91.73", "resnet32": "92.63 (recalled)", "resnet44": "93.10 (recalled)", "resnet56": "93.39"}
record = PAPER / "upstream.json"
if record.exists():
    measured = read_json(record)
    columns = [name for name in next(iter(measured.values())) if name != "sha256"]
    rows = [[model, PUBLISHED[model], *(ours.get(name, "") for name in columns)] for model, ours in measured.items()]
    note(tables.markdown_table(["network", "published, original test images", *columns], rows))
else:
    note("*Not here:* `python -m papers.rethinking_pruning.upstream` has not been run.")

# %% [markdown]
# ## Later work
#
# Wang et al. (arXiv 2301.05219) hold the rate of fine-tuning responsible: at 0.001 or less it is far from optimal.
# Their numbers, not the paper's, from another setup: ResNet-34 on 100 classes of ImageNet, filters by L1 norm.

# %%
_, axes = plt.subplots(figsize=(6.5, 3.4))
lines: dict[str, tuple[list[int], list[float], str]] = {}
for entry in of("Later work"):
    named = re.fullmatch(r"later\.(.+)\.r(\d+)\.top1", entry.id)
    assert named is not None
    share, setting = re.findall(r"(\d+) % of filters, (.+): top-1", entry.row)[0]
    line = lines.setdefault(named[1], ([], [], setting))
    line[0].append(int(share))
    line[1].append(float(entry.says.partition("±")[0]))
for number, (ratios, values, setting) in enumerate(lines.values()):
    axes.plot(ratios, values, marker=plots.MARKERS[number], color=plots.PALETTE[number], label=setting)
axes.set(xlabel="filters pruned, %", ylabel="top-1, %", ylim=(60, 90))
axes.legend(fontsize=7)
plt.show()
note(tables.section(of("Later work")))

# %% [markdown]
# ## Everything else
#
# Claims that stand in none of the places above, so that no claim is left out of this notebook.

# %%
report.show_rest()
