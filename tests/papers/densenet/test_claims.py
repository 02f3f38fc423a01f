"""The evidence that claims.yaml names for its explanations, and what the text says of the facts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from papers.densenet import MODELS
from papers.densenet.model import densenet, preact_resnet
from shared.files import ROOT
from shared.ledger import Entry
from shared.ledger.counts import count_model
from shared.ledger.judge import judge
from shared.ledger.printed import parse_printed
from shared.measure.cost import peak_memory
from shared.training.protocol import load_protocols


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge("densenet")}


def norms(network: nn.Module) -> int:
    return sum(part.numel() for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)
               for part in layer.parameters())  # fmt: skip


def test_the_printed_size_of_resnet_1001_has_no_norms(entries: dict[str, Entry]) -> None:
    says = parse_printed(entries["t2.preact-1001.params"].says)
    whole = count_model("densenet", "preact_resnet", {"depth": 1001}).params
    with torch.device("meta"):
        left = norms(preact_resnet(1001))
    assert left == 149_216 and says.is_print_of(whole - left) and not says.is_print_of(whole)


def test_resnet_1202_is_as_large_as_its_own_paper_says(entries: dict[str, Entry]) -> None:
    assert parse_printed("19.4M").is_print_of(count_model("densenet", "resnet1202", {}).params)
    assert entries["t2.stochastic-1202.params"].says == entries["t2.preact-1001.params"].says


def test_the_released_stem_would_not_give_the_printed_sizes(entries: dict[str, Entry]) -> None:
    for depth, growth, millions in ((40, 12, 1.06), (100, 12, 7.08), (100, 24, 28.07)):
        says = parse_printed(entries[f"t2.densenet-{depth}-{growth}.params"].says)
        args = {"depth": depth, "growth": growth, "stem": 2 * growth}
        released = count_model("densenet", "densenet", args).params
        assert not says.is_print_of(released) and round(released / 1e6, 2) == millions


def test_densenet_201_computes_like_resnet_50_and_half_of_resnet_101() -> None:
    dense, fifty, hundred = (
        count_model("densenet", name, {}).macs for name in ("densenet201", "resnet50", "resnet101")
    )
    assert 0.95 < dense / fifty < 1.05 and 1.8 < hundred / dense < 2.0


def test_computing_again_spares_as_large_a_part(entries: dict[str, Entry]) -> None:
    """The authors' level 4 needs 0.30 of level 0; ours less, as it keeps no concatenation."""
    networks = [densenet(100, 12, True, 0.5, memory_efficient=again) for again in (False, True)]
    plain, again = (peak_memory(network, (3, 32, 32), batch=1, training=True) for network in networks)
    printed = [float(entries[f"code.memory-{level}.memory-mb"].says) for level in (4, 0)]
    assert again / plain < printed[0] / printed[1]


def test_networks_that_figure_4_compares_have_equal_parameters() -> None:
    protocols = load_protocols(ROOT / "papers" / "densenet" / "params.yaml")
    for name, arms, apart in (("small", ("densenet-bc", "densenet-basic", "preact-resnet"), 0.051),
                              ("gpu", ("densenet-bc", "preact-resnet"), 0.01)):  # fmt: skip
        sizes = [count_model("densenet", protocols[name].arms[arm].builder, protocols[name].arms[arm].args).params
                 for arm in arms]  # fmt: skip
        assert max(sizes) / min(sizes) - 1 < apart, name


def test_dropout_is_where_no_augmentation_is() -> None:
    for name, protocol in load_protocols(ROOT / "papers" / "densenet" / "params.yaml").items():
        augmented = bool(protocol.recipe.augment.model_dump(exclude={"normalisation"}, exclude_defaults=True))  # type: ignore[attr-defined]
        for arm, stated in protocol.arms.items():
            if "dropout" in stated.args or not augmented:
                assert stated.args.get("dropout") == 0.2 and not augmented, f"{name}/{arm}"


def test_every_row_of_the_paper_is_there(entries: dict[str, Entry]) -> None:
    cells = [entry for entry in entries.values() if entry.quantity not in ("ordering", "outputs")]
    found = {
        place: len([one for one in cells if place in one.places]) for place in ("Table 2", "Table 3", "Official code")
    }
    assert found == {"Table 2": 92, "Table 3": 20, "Official code": 38}


def test_every_size_of_table_2_that_is_built_here_is_as_printed(entries: dict[str, Entry]) -> None:
    sizes = {
        name: entry.verdict
        for name, entry in entries.items()
        if entry.quantity == "params" and "Table 2" in entry.places
    }
    assert sorted(name for name, verdict in sizes.items() if verdict == "deviates") == [
        "t2.preact-1001.params", "t2.stochastic-1202.params",
    ]  # fmt: skip
    assert all(sizes[f"t2.densenet-{name}.params"] == "exact"
               for name in ("40-12", "100-12", "100-24", "bc-100-12", "bc-250-24", "bc-190-40"))  # fmt: skip
    assert {"densenet121", "densenet161", "densenet169", "densenet201", "densenet264"} <= MODELS.keys()
