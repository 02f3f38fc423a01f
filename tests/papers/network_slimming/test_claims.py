"""The evidence that claims.yaml names, and what its numbers say about one another."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from papers.network_slimming import DEFAULTS, MODELS
from shared.layers.select import ChannelSelect
from shared.ledger import Entry
from shared.ledger.claims import ArithmeticCheck
from shared.ledger.expand import load_claims
from shared.ledger.judge import judge
from shared.ledger.printed import parse_printed
from shared.measure import Count, count

FULL = {"vgg19": {}, "densenet40": {"stem": 16}, "resnet164": {}, "vgg-a": {}}
BUILDERS = {"vgg19": "vgg19", "densenet40": "densenet40", "resnet164": "preact_resnet164", "vgg-a": "vgg_a"}
FITS = "test_savings_follow_from_the_printed_counts"
DISAGREES = {"t1b.densenet40-60.params-saved"}


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge("network_slimming")}


def built(model: str, **args: Any) -> Any:
    with torch.device("meta"):
        return MODELS[model](**args)


def counted(model: str, **args: Any) -> Count:
    return count(built(model, **args), DEFAULTS[model][0])


def saved(whole: int, part: int) -> Fraction:
    """Per cent."""
    return 100 * (1 - Fraction(part, whole))


def follows(entries: dict[str, Entry], name: str) -> bool:
    """Whether a printed percentage can be what the printed counts give, for some values that round to the three."""
    row, _, what = name.rpartition(".")
    whole = row.rpartition("-")[0]
    quantity = what.removesuffix("-saved")
    part, full, share = (parse_printed(entries[key].says) for key in (f"{row}.{quantity}", f"{whole}.{quantity}", name))
    low = 100 * (1 - (part.value + part.unit / 2) / (full.value - full.unit / 2))
    high = 100 * (1 - (part.value - part.unit / 2) / (full.value + full.unit / 2))
    return low - share.unit / 2 <= share.value <= high + share.unit / 2


def test_savings_follow_from_the_printed_counts(entries: dict[str, Entry]) -> None:
    checks = {claim.id: claim.check for claim in load_claims("network_slimming")}
    printed = {name for name in entries if re.match(r"t[12].*-saved$", name)}
    shown = {name for name, check in checks.items() if isinstance(check, ArithmeticCheck) and check.test.endswith(FITS)}
    assert len(printed) == 32
    assert printed - shown == DISAGREES
    assert {name for name in printed if not follows(entries, name)} == DISAGREES


def test_the_widths_of_table_5_give_the_savings_of_iteration_4(entries: dict[str, Entry]) -> None:
    widths = entries["t5.widths"].says
    whole, slim = counted("vgg19"), counted("vgg19", widths=widths)
    for quantity, share in (("params", saved(whole.params, slim.params)), ("macs", saved(whole.macs, slim.macs))):
        says = {number: parse_printed(entries[f"t4a.pass-{number}.{quantity}-saved"].says) for number in range(1, 7)}
        assert [number for number, print_ in says.items() if print_.is_print_of(share)] == [4], float(share)


def test_the_widths_of_table_3_give_the_savings(entries: dict[str, Entry]) -> None:
    def parameters(*units: int) -> int:
        """Of linear layers with biases, as the method of the second row has them; without normalisation."""
        return sum((before + 1) * after for before, after in itertools.pairwise(units))

    whole = parameters(784, 500, 300, 10)
    for name in ("t3.slim", "t3.ssl"):
        entry = entries[f"{name}.params-saved"]
        found = re.search(r"\d+(-\d+){3}", entry.row)
        assert found is not None
        part = parameters(*map(int, found[0].split("-")))
        assert parse_printed(entry.says).is_print_of(saved(whole, part)), float(saved(whole, part))
    normalised = saved(counted("mlp_mnist").params, counted("mlp_mnist", widths="100-60").params)
    assert parse_printed(entries["t3.slim.params-saved"].says).is_print_of(normalised)


def test_half_of_the_channels_and_neurons_of_vgg_a_went(entries: dict[str, Entry]) -> None:
    network = built("vgg_a")
    units = {type(norm): 0 for norm in network.modules() if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)}
    layers = dict(network.named_modules())
    for name in network.prunable:
        units[type(layers[name])] += layers[name].num_features
    gone, channels, gone_too, neurons = map(int, re.findall(r"\d+", entries["t2.vgg-a-50.removed"].says))
    assert units == {nn.BatchNorm2d: channels, nn.BatchNorm1d: neurons}
    assert 2 * (gone + gone_too) == channels + neurons


@pytest.mark.parametrize("row", ["t1a.vgg19", "t1a.densenet40", "t1a.resnet164", "t1b.vgg19", "t1b.densenet40",
                                 "t1b.resnet164", "t1c.vgg19", "t1c.densenet40", "t1c.resnet164"])  # fmt: skip
def test_elementwise_operations_reach_the_printed_flops(row: str, entries: dict[str, Entry]) -> None:
    """Two operations a multiply-add stay below what is printed; three more for each normalised element reach it."""
    arm = row.partition(".")[2]
    network = built(BUILDERS[arm], **FULL[arm], classes=100 if row.startswith("t1b") else 10)
    elements = 0

    def see(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal elements
        elements += inputs[0].numel()

    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.register_forward_pre_hook(see)
    operations = 2 * count(network, (3, 32, 32)).macs
    elements = 0
    network.eval()(torch.empty(1, 3, 32, 32, device="meta"))
    says = parse_printed(entries[f"{row}.macs"].says)
    assert elements > 0
    assert operations < says.value - says.unit / 2 <= operations + 3 * elements


def test_vgg_a_is_printed_with_six_operations_a_multiply_add(entries: dict[str, Entry]) -> None:
    says = parse_printed(entries["t2.vgg-a.macs"].says)
    macs = counted("vgg_a").macs
    assert [factor for factor in range(1, 10) if says.is_print_of(factor * macs)] == [6]


def selected(model: str, **args: Any) -> int:
    """How many channels the selections of the full network choose from: behind them the official code keeps indices.

    They stand before the first normalisation of every block, before the transitions and before the classifier.
    """
    return sum(layer.index.numel() for layer in built(model, **args).modules() if isinstance(layer, ChannelSelect))


@pytest.mark.parametrize(
    ("claim", "model", "args", "indices"),
    [
        ("code.c10.resnet164.base.params", "preact_resnet164", {}, 8080),
        ("code.c10.densenet40-24.base.params", "densenet40", {"stem": 24}, 9360),
        ("code.c10.densenet40-24.sparse.params", "densenet40", {"stem": 24}, 9360),
    ],
)
def test_index_vectors_explain_the_counts_of_the_official_page(
    claim: str, model: str, args: dict[str, int], indices: int, entries: dict[str, Entry]
) -> None:
    says, plain = parse_printed(entries[claim].says), counted(model, **args).params
    assert selected(model, **args) == indices
    assert not says.is_print_of(plain) and says.is_print_of(plain + indices)


def test_the_page_counts_densenet_without_indices_for_cifar_100(entries: dict[str, Entry]) -> None:
    says = parse_printed(entries["code.c100.densenet40-24.base.params"].says)
    plain = counted("densenet40", stem=24, classes=100).params
    assert says.is_print_of(plain) and not says.is_print_of(plain + selected("densenet40", stem=24))


def test_the_full_networks_have_the_parameters_that_others_computed() -> None:
    found = [counted(BUILDERS[arm], **FULL[arm]).params for arm in ("vgg19", "resnet164", "densenet40")]
    assert [*found, counted("densenet40", stem=24).params] == [20_035_018, 1_703_258, 1_019_722, 1_059_298]


def test_what_deviates_is_what_the_readme_says(entries: dict[str, Entry]) -> None:
    counts = {name: entry.verdict for name, entry in entries.items() if entry.check == "count"}
    flops = {f"t1{part}.{arm}.macs" for part in "abc" for arm in ("vgg19", "densenet40", "resnet164")}
    page = {f"code.c100.vgg19.{end}.params" for end in ("base", "sparse")}
    page |= {f"code.c10.{arm}.{end}.params" for arm in ("resnet164", "densenet40-24") for end in ("base", "sparse")}
    assert {name for name, verdict in counts.items() if verdict == "deviates"} == flops | page | {"t2.vgg-a.macs"}
    assert len(counts) == 32


def test_every_row_of_the_paper_is_there(entries: dict[str, Entry]) -> None:
    numbers = {name for name, entry in entries.items() if entry.quantity != "ordering"}
    rows = Counter(row.partition(".")[0] for row in {re.sub(r"(\.(trained|tuned))?\.[a-z0-9-]+$", "", name)
                                                    for name in numbers if not name.startswith("code")})  # fmt: skip
    assert rows == {
        "t1a": 8,
        "t1b": 8,
        "t1c": 8,
        "t2": 2,
        "t3": 3,
        "t4a": 6,
        "t4b": 6,
        "t5": 1,
        "t6": 2,
        "t7a": 1,
        "t7b": 1,
    }
    page = Counter(name.split(".")[1] for name in numbers if re.match(r"code\..*\.top1$", name))
    assert page == {"c10": 16, "c100": 14, "mask": 6, "vgg11-50": 3}
    assert sum(rows.values()) + sum(page.values()) == 85
