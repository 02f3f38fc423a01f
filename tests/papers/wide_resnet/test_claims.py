"""The evidence that claims.yaml names for its explanations, and that the recipes are the paper's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from papers.wide_resnet import MODELS
from papers.wide_resnet.model import WideResNet, wrn_block, wrn_deepening
from shared.baselines.resnet import ResNet
from shared.datasets.augment import Augment
from shared.files import ROOT
from shared.ledger.claims import Claim, CountCheck, MeasureCheck, RunCheck
from shared.ledger.expand import load_claims
from shared.ledger.printed import parse_printed
from shared.measure import count
from shared.training.protocol import Protocol, load_protocols
from shared.training.run import run_of


@pytest.fixture(scope="module")
def claims() -> dict[str, Claim]:
    return {claim.id: claim for claim in load_claims("wide_resnet")}


@pytest.fixture(scope="module")
def protocols() -> dict[str, Protocol]:
    return load_protocols(ROOT / "papers" / "wide_resnet" / "params.yaml")


def params(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_depth_of_table_2_is_a_label(claims: dict[str, Claim]) -> None:
    """With as many convolutions as the label says, blocks of three would miss the printed sizes."""
    strict = {}
    for block, depth, printed in (("1-3-1", 40, "1.4M"), ("3-1-1", 40, "1.3M"), ("3-1-3", 22, "1.1M")):
        with torch.device("meta"):
            label, network = wrn_block(block, depth), WideResNet((depth - 4) // 9, 2, tuple(map(int, block.split("-"))))
        assert sum(isinstance(layer, nn.Conv2d) for layer in network.modules()) == depth
        assert claims[f"t2.b-{block}.params"].says == printed and parse_printed(printed).is_print_of(params(label))
        strict[block] = params(network)
        assert not parse_printed(printed).is_print_of(strict[block])
    assert [round(found / 1e6, 2) for found in strict.values()] == [0.95, 0.87, 0.74]


def test_deepening_changes_no_parameter() -> None:
    with torch.device("meta"):
        assert {params(wrn_deepening(deepening)) for deepening in (1, 2, 3, 4)} == {2_243_546}


def test_resnet_1202_is_no_network_of_10_million() -> None:
    with torch.device("meta"):
        found = {name: params(MODELS[name]()) for name in ("resnet1202", "preact_resnet1001")}
    assert parse_printed("19.4M").is_print_of(found["resnet1202"])
    assert 1.8 < found["resnet1202"] / found["preact_resnet1001"] < 2


def test_resnet_1001_is_printed_without_its_normalisation() -> None:
    with torch.device("meta"):
        network = MODELS["preact_resnet1001"]()
    norms = sum(params(layer) for layer in network.modules() if isinstance(layer, nn.BatchNorm2d))
    assert parse_printed("10.2M").is_print_of(params(network) - norms)
    assert not parse_printed("10.2M").is_print_of(params(network))


def test_the_stem_of_table_7_is_not_widened(claims: dict[str, Claim]) -> None:
    missed = set()
    for name, claim in claims.items():
        if name.startswith("t7") and isinstance(claim.check, CountCheck):
            depth, width = int(claim.check.model[3:5]), float(claim.check.args["width"])
            with torch.device("meta"):
                if not parse_printed(claim.says).is_print_of(params(ResNet(depth, width=width))):
                    missed.add(claim.row)
    assert missed == {"WRN-18-2.0", "WRN-18-3.0", "WRN-34-2.0"}


@pytest.mark.parametrize("protocol", ["small", "gpu"])
def test_the_thin_network_of_the_orderings_is_not_the_cheaper_one(
    protocol: str, protocols: dict[str, Protocol], claims: dict[str, Claim]
) -> None:
    cost = {}
    for name in ("wide", "thin"):
        with torch.device("meta"):
            cost[name] = count(run_of("wide_resnet", protocol, protocols[protocol], name, 0).build(), (3, 32, 32))
    for quantity in ("params", "macs"):
        ratio = getattr(cost["thin"], quantity) / getattr(cost["wide"], quantity)
        assert 1 < ratio < 1.25, "as in the paper: 10.2 M against 8.9 M parameters"
    checks = [claim.check for claim in claims.values() if isinstance(claim.check, RunCheck)]
    assert {(one.better, one.than) for one in checks if one.protocol == protocol} == {("wide", "thin")}


@pytest.mark.parametrize("name", ["cifar", "cifar100", "cifar-zca", "cifar100-zca"])
def test_the_recipe_for_cifar_is_the_papers(name: str, protocols: dict[str, Protocol]) -> None:
    protocol = protocols[name]
    recipe: Any = protocol.recipe
    optimiser, schedule = recipe.optimiser, recipe.schedule
    assert (optimiser.name, optimiser.lr, optimiser.momentum, optimiser.nesterov) == ("sgd", 0.1, 0.9, True)
    assert (optimiser.weight_decay, optimiser.spare, recipe.batch_size, recipe.epochs) == (5e-4, (), 128, 200)
    assert (schedule.name, schedule.milestones, schedule.gamma) == ("multistep", (60, 120, 160), 0.2)
    normalisation = "zca" if name.endswith("zca") else "dataset"
    assert recipe.augment == Augment(pad_crop=4, padding="reflect", flip=True, normalisation=normalisation)
    assert protocol.data == {"cifar": "cifar10", "cifar100": "cifar100"}[name.removesuffix("-zca")]
    assert {arm.args["norm_scale"] for arm in protocol.arms.values()} == {"uniform"}
    assert {arm.args["dropout"] for label, arm in protocol.arms.items() if "dropout" in label} <= {0.3}


def test_the_recipe_for_svhn_is_the_papers(protocols: dict[str, Protocol]) -> None:
    protocol = protocols["svhn"]
    recipe: Any = protocol.recipe
    assert (recipe.optimiser.lr, recipe.epochs, recipe.schedule.milestones, recipe.schedule.gamma) == (
        0.01, 160, (80, 120), 0.1,
    )  # fmt: skip
    assert recipe.augment == Augment(normalisation="unit") and protocol.data == "svhn"
    assert {arm.args["dropout"] for label, arm in protocol.arms.items() if "dropout" in label} == {0.4}


def test_each_arm_of_the_papers_recipes_is_the_network_of_its_name(
    protocols: dict[str, Protocol], claims: dict[str, Claim]
) -> None:
    for protocol in protocols.values():
        for label, arm in protocol.arms.items():
            if arm.builder == "wrn" and label.startswith("wrn-"):
                assert label.split("-")[1:3] == [str(arm.args["depth"]), str(arm.args["width"])]
                assert ("dropout" in arm.args) == label.endswith("-dropout")
    for claim in claims.values():  # what a row counts is what its recipe would train
        if isinstance(claim.check, MeasureCheck) and (sized := claims.get(f"{claim.id.rpartition('.')[0]}.params")):
            arm, check = protocols[claim.check.protocol].arms[claim.check.arm], sized.check
            assert isinstance(check, CountCheck) and arm.builder == check.model, claim.id
            assert check.args.items() <= arm.args.items(), claim.id
