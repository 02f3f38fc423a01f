"""The evidence that claims.yaml names, and what its numbers say about one another."""

from __future__ import annotations

import functools
import re
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import nn

from papers.rethinking_pruning import DEFAULTS, MODELS
from shared.baselines import resnet
from shared.compression.choose import per_layer
from shared.files import ROOT
from shared.ledger import Entry
from shared.ledger.claims import MeasureCheck
from shared.ledger.expand import load_claims
from shared.ledger.judge import judge
from shared.ledger.printed import parse_printed
from shared.measure import Count, count
from shared.training.protocol import Protocol, load_protocols
from tests.shared.compression.networks import widths_of

# What the printed epochs and ratios are of: the pruned network, the full one, and the epochs of scratch-E.
FULL = {
    "vgg16_a": ("vgg16", 160), "resnet56_a": ("resnet56", 160), "resnet56_b": ("resnet56", 160),
    "resnet110_a": ("resnet110", 160), "resnet110_b": ("resnet110", 160),
    "resnet34_a": ("resnet34", 90), "resnet34_b": ("resnet34", 90),
    "vgg_conv": ("vgg16_imagenet", 90), "vgg_gap": ("vgg16_imagenet", 90), "vgg_tiny": ("vgg16_imagenet", 90),
    "vgg_5x": ("vgg16_imagenet", 90), "resnet50_2x": ("resnet50", 90),
    "thinet30": ("resnet50", 90), "thinet50": ("resnet50", 90), "thinet70": ("resnet50", 90),
    "sss_resnet26": ("resnet50", 100), "sss_resnet32": ("resnet50", 100), "sss_resnet41": ("resnet50", 100),
}  # fmt: skip
# Where ours is not what is printed.
OTHER_EPOCHS = {"t3.resnet50-2x.scratch-b.epochs": 134}


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge("rethinking_pruning")}


@pytest.fixture(scope="module")
def protocols() -> dict[str, Protocol]:
    return load_protocols(ROOT / "papers" / "rethinking_pruning" / "params.yaml")


@functools.cache
def built(model: str) -> Any:
    with torch.device("meta"):
        return MODELS[model]()


@functools.cache
def counted(model: str) -> Count:
    return count(built(model), DEFAULTS[model][0])


def model_of(claim: str) -> str:
    """The builder of the network that a claim is about."""
    table, row = claim.split(".")[:2]
    return {"t5": "sss_"}.get(table, "") + row.replace("-", "_")


def ratio(model: str) -> Fraction:
    """MACs of the full network over those of the pruned one."""
    return Fraction(counted(FULL[model][0]).macs, counted(model).macs)


def scratch_b(model: str) -> int:
    """Epochs; those of ImageNet in PyTorch are at most twice 90."""
    epochs = FULL[model][1]
    return 2 * epochs if epochs == 90 and ratio(model) >= 2 else int(epochs * ratio(model))


def test_the_epochs_of_scratch_b_follow_from_our_macs(entries: dict[str, Entry]) -> None:
    printed = {name: int(entry.says) for name, entry in entries.items() if name.endswith("scratch-b.epochs")}
    assert len(printed) == len(FULL)
    ours = {name: scratch_b(model_of(name)) for name in printed}
    assert {name: epochs for name, epochs in ours.items() if epochs != printed[name]} == OTHER_EPOCHS
    shown = {name for name in printed if entries[name].check == "arithmetic"}
    assert shown == printed.keys() - OTHER_EPOCHS.keys()


def test_the_epochs_of_resnet_2x_are_not_those_of_our_macs(entries: dict[str, Entry]) -> None:
    says, ours = entries["t3.resnet50-2x.scratch-b.epochs"].says, scratch_b("resnet50_2x")
    assert (int(says), ours) == (132, 134)


RATIOS = [f"t1.{model}.ratio" for model in ("resnet56-a", "resnet56-b", "resnet110-a", "resnet110-b", "resnet34-a",
                                            "resnet34-b")]  # fmt: skip


def test_printed_ratios_are_ours_within_a_fifth_of_a_percent(entries: dict[str, Entry]) -> None:
    assert {name for name in entries if name.endswith(".ratio")} == set(RATIOS)
    for name in RATIOS:
        assert float(entries[name].says) == pytest.approx(float(ratio(model_of(name))), rel=0.002), name


@pytest.mark.parametrize("name", RATIOS[:4])
def test_elementwise_operations_bring_the_ratios_to_the_print(name: str, entries: dict[str, Entry]) -> None:
    """Two operations a multiply-add and three for each element that is normalised and rectified."""
    operations = []
    for model in (FULL[model_of(name)][0], model_of(name)):
        elements = 0

        def see(_norm: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            nonlocal elements
            elements += inputs[0].numel()

        hooks = [
            norm.register_forward_pre_hook(see) for norm in built(model).modules() if isinstance(norm, nn.BatchNorm2d)
        ]
        built(model).eval()(torch.empty(1, 3, 32, 32, device="meta"))
        for hook in hooks:
            hook.remove()
        operations.append(2 * counted(model).macs + 3 * elements)
    assert operations[0] / operations[1] == pytest.approx(float(entries[name].says), abs=2e-4)


@pytest.mark.parametrize(("model", "keep"), [("thinet30", 0.3), ("thinet50", 0.5), ("thinet70", 0.7)])
def test_the_stride_explains_the_flops_of_thinet(model: str, keep: float, entries: dict[str, Entry]) -> None:
    """In the first block of stages 2 to 4 the 1x1 convolution then makes a quarter of the pixels."""
    moved = 0
    for stage in (1, 2, 3):
        channels, side = 4 * resnet.STAGE_WIDTHS[stage - 1], 56 // 2 ** (stage - 1)
        moved += channels * int(resnet.STAGE_WIDTHS[stage] * keep) * side**2 * 3 // 4
    says, ours = parse_printed(entries[f"t2.{model}.macs"].says), counted(model).macs
    assert 2 * ours > 1.05 * says.value
    assert 2 * (ours - moved) == pytest.approx(float(says.value), rel=0.003)


def test_nominal_speed_ups_are_not_ratios_of_macs(entries: dict[str, Entry]) -> None:
    for claim, model, ours in (("t3.vgg-5x.speed-up", "vgg_5x", 4.4), ("t3.resnet50-2x.speed-up", "resnet50_2x", 1.5)):
        nominal = int(entries[claim].says.removesuffix("x"))
        assert round(float(ratio(model)), 1) == ours != nominal
        assert f"ours is {ours:g} times less" in entries[claim].reason


def test_differences_are_those_of_the_released_code(entries: dict[str, Entry]) -> None:
    """The transcribed differences of tables 2 and 3 against the accuracies that the released code states."""
    drops = {name: float(entry.says) for name, entry in entries.items() if ".drop" in name}
    apart = {}
    for name, drop in drops.items():
        table, network, arm = name.split(".")[:3]
        full = 71.51 if network.startswith("vgg") else 76.13
        code = {"resnet50-2x": "resnet-2x"}.get(network, re.sub(r"thinet(\d+)", r"thinet-\1", network))
        apart[name] = round(float(entries[f"code.{code}.{arm}.top1"].says) - full - drop, 2)
        assert table in ("t2", "t3")
    assert len(apart) == 18
    # What is marked as computed is; 75.12 and 75.14 for ThiNet-70; the one of ResNet-2x is resolved by nothing known.
    assert {name: gap for name, gap in apart.items() if gap} == {
        "t2.thinet70.scratch-b.drop": 0.02,
        "t3.resnet50-2x.scratch-b.drop": -0.48,
    }


def test_where_transcription_and_released_code_disagree_both_are_claims(entries: dict[str, Entry]) -> None:
    pairs = {
        **{f"t1.resnet34-{rule}.{arm}": f"code.resnet-34-{rule}.{arm}"
           for rule in "ab" for arm in ("tuned", "scratch-e", "scratch-b")},
        **{f"t5.resnet{depth}.scratch-b": f"code.resnet-{depth}.scratch-b" for depth in (41, 32, 26)},
        **{f"t6.imagenet.{net}-{ratio}.{arm}": f"code.{code}-{ratio}.{arm}"
           for net, code in (("vgg16", "vgg-16"), ("resnet50", "resnet-50"))
           for ratio in (30, 60) for arm in ("tuned", "scratch-b")},
    }  # fmt: skip
    says = {table: (entries[f"{table}.top1"].says, entries[f"{code}.top1"].says) for table, code in pairs.items()}
    assert {table: pair for table, pair in says.items() if pair[0] != pair[1]} == {
        "t1.resnet34-a.scratch-b": ("73.03", "73.08"),
        "t1.resnet34-b.scratch-b": ("72.91", "72.84"),
        "t6.imagenet.resnet50-30.scratch-b": ("75.70", "75.60"),
        "t6.imagenet.resnet50-60.scratch-b": ("74.91", "74.90"),
    }


PRUNED = [("cifar", "vgg16", "a"), ("cifar", "resnet56", "a"), ("cifar", "resnet56", "b"), ("cifar", "resnet110", "a"),
          ("cifar", "resnet110", "b"), ("paper", "resnet34", "a"), ("paper", "resnet34", "b")]  # fmt: skip


@pytest.mark.parametrize(("protocol", "network", "rule"), PRUNED)
def test_the_ratios_of_params_yaml_leave_the_counted_networks(
    protocol: str, network: str, rule: str, protocols: dict[str, Protocol]
) -> None:
    how = protocols[protocol].arms[f"{network}-pruned-{rule}"].prune
    assert how is not None
    layers = dict(built(network).named_modules())
    scores = {name: torch.rand(layers[name].num_features) for name in built(network).prunable}
    kept = "-".join(str(int(mask.sum())) for mask in per_layer(scores, how.ratio).keep.values())
    assert kept == widths_of(built(f"{network}_{rule}"))


@pytest.mark.parametrize("protocol", ["mini", "small"])
def test_the_narrow_network_is_pruned_as_vgg16_a(protocol: str, protocols: dict[str, Protocol]) -> None:
    how = protocols[protocol].arms["pruned-l1"].prune
    assert how is not None and how == protocols["cifar"].arms["vgg16-pruned-a"].prune


def test_an_accuracy_of_tables_1_4_and_6_names_the_arm_of_its_column(protocols: dict[str, Protocol]) -> None:
    """What a row's `{step}` makes of it: an arm that starts as the column says."""
    starts = {"tuned": "inherited", "scratch-e": "random", "scratch-b": "random"}
    for claim in load_claims("rethinking_pruning"):
        step = claim.id.split(".")[-2]
        if isinstance(claim.check, MeasureCheck) and claim.quantity == "top1" and step in starts:
            arm = protocols[claim.check.protocol].arms[claim.check.arm]
            budget = "macs" if step == "scratch-b" and "weights" not in claim.check.arm else arm.budget
            assert (arm.weights, arm.budget) == (starts[step], budget), claim.id


def test_what_deviates_is_what_the_readme_says(entries: dict[str, Entry]) -> None:
    counts = {name: entry.verdict for name, entry in entries.items() if entry.check == "count"}
    cut_off = {f"{row}.params" for row in ("t1.resnet56-b", "t1.resnet110-a", "t1.resnet110-b", "t2.thinet30",
                                           "t2.thinet70", "t5.resnet41")}  # fmt: skip
    shortcuts = {f"t1.resnet34-{rule}.{what}" for rule in "ab" for what in ("params", "macs")}
    stride = {f"t2.thinet{keep}.macs" for keep in (30, 50, 70)}
    blocks = {"t5.resnet32.params", "t5.resnet26.params", "t5.resnet26.macs"}
    expected = cut_off | shortcuts | stride | blocks | {"t2.vgg-conv.params"}
    assert {name for name, verdict in counts.items() if verdict == "deviates"} == expected
    assert len(counts) == 28


def test_every_row_of_the_paper_is_there(entries: dict[str, Entry]) -> None:
    accuracies = [name for name, entry in entries.items() if name.endswith(".top1") and entry.check == "quote"]
    # Table 1 has seven pruned networks of four full ones, Table 4 ten of six, Table 6 eighteen of six and four of two.
    assert Counter(name.split(".")[0] for name in accuracies) == {
        "t1": 7 * 3 + 4, "t2": 2, "t3": 2, "t4": 10 * 3 + 6, "t5": 3 + 1, "t6": 18 * 3 + 6 + 4 * 2 + 2, "code": 43,
        "later": 36,
    }  # fmt: skip
