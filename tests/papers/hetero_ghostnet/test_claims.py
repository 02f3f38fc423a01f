"""The evidence that claims.yaml names for its explanations."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction

import pytest
import torch
from torch import nn

from papers.hetero_ghostnet import MODELS
from papers.hetero_ghostnet.model import g_ghost_resnet
from shared.files import ROOT
from shared.ledger import Entry
from shared.ledger.counts import count_model
from shared.ledger.judge import judge
from shared.ledger.printed import parse_printed
from shared.measure import Count, count
from shared.training.protocol import load_protocols

SLUG = "hetero_ghostnet"
RELEASED = ("032", "040", "080", "160")


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge(SLUG)}


def test_c_ghostnet_1_3_is_printed_as_cut(entries: dict[str, Entry]) -> None:
    found = count_model(SLUG, "c_ghostnet", {"width": 1.3, "rounding": "tensorflow"})
    assert (entries["c.1.3.params"].says, found.params // 10**5) == ("7.3M", 73)
    assert (entries["c.1.3.macs"].says, found.macs // 10**6) == ("226M", 226)


def test_the_readme_rounds_4_15_twice(entries: dict[str, Entry]) -> None:
    macs = count_model(SLUG, "g_ghost_regnetx_080", {}).macs
    says = parse_printed(entries["code.080.macs"].says)
    once, twice = parse_printed("4.15G"), parse_printed("4.2G")
    assert says == twice and not twice.is_print_of(macs)
    assert once.is_print_of(macs) and twice.is_print_of(once.value)


@pytest.mark.parametrize("size", RELEASED)
def test_what_the_released_networks_save(size: str, entries: dict[str, Entry]) -> None:
    ours, plain = (count_model(SLUG, f"{kind}regnetx_{size}", {}) for kind in ("g_ghost_", ""))
    for quantity in ("params", "macs"):
        saved = 100 - Fraction(100 * getattr(ours, quantity), getattr(plain, quantity))
        says = entries[f"savings.{size}.{quantity}"].says
        assert parse_printed(says).is_print_of(saved), (says, float(saved))


def test_activations_fall_less_than_multiply_adds() -> None:
    """By 10 to 26 per cent in the twelve sizes, where MACs fall by 34 to 48."""

    def saved(size: str, quantity: str) -> float:
        found = (getattr(count_model(SLUG, f"{kind}regnetx_{size}", {}), quantity) for kind in ("g_ghost_", ""))
        ours, plain = found
        return 100 - 100 * ours / plain

    sizes = [name.removeprefix("regnetx_") for name in MODELS if name.startswith("regnetx")]
    activations, macs = ([saved(size, quantity) for size in sizes] for quantity in ("activations", "macs"))
    assert (round(min(macs)), round(max(macs))) == (34, 48)
    assert (round(min(activations)), round(max(activations))) == (10, 26)
    assert all(a < m for a, m in zip(activations, macs, strict=True))


@pytest.mark.parametrize(
    ("claim", "model"), [("counted.006", "g_ghost_regnetx_006"), ("ascend.resnet152", "resnet152")]
)
def test_the_classifier_explains_the_activations(claim: str, model: str, entries: dict[str, Entry]) -> None:
    says = parse_printed(entries[f"{claim}.activations"].says)
    found = count_model(SLUG, model, {}).activations
    assert says.is_print_of(found - 1000) and not says.is_print_of(found)


def test_of_the_choices_of_ghost_stages_only_all_four_give_the_log(entries: dict[str, Entry]) -> None:
    says = parse_printed(entries["mindspore.resnet101.params"].says)
    with torch.device("meta"):
        ghost, plain = g_ghost_resnet(101), MODELS["resnet101"]()

    def params(*modules: nn.Module) -> int:
        return sum(parameter.numel() for module in modules for parameter in module.parameters())

    sizes = [(params(one), params(other)) for one, other in zip(plain.stages, ghost.stages, strict=True)]
    rest = params(plain) - sum(size for size, _ in sizes)
    fitting = [
        chosen
        for chosen in itertools.product((0, 1), repeat=4)
        if says.value == rest + sum(size[one] for size, one in zip(sizes, chosen, strict=True))
    ]
    assert fitting == [(1, 1, 1, 1)]


def test_the_arms_that_are_compared_have_equal_macs_and_the_plain_one_no_fewer_parameters() -> None:
    def cost(protocol: str, arm: str) -> Count:
        stated = protocols[protocol].arms[arm]
        with torch.device("meta"):
            return count(MODELS[stated.builder](classes=10, **stated.args), (3, 32, 32))

    protocols = load_protocols(ROOT / "papers" / SLUG / "params.yaml")
    for protocol, apart in (("small", 0.002), ("gpu", 0.02)):
        ghost, narrow = cost(protocol, "g-ghost"), cost(protocol, "regnetx-narrow")
        assert abs(narrow.macs / ghost.macs - 1) < apart and narrow.macs > ghost.macs and narrow.params > ghost.params
        assert narrow.activations < ghost.activations < cost(protocol, "regnetx").activations


def test_ratios_are_quantised_by_the_narrow_group_width() -> None:
    for one, other in ((0.2, 0.25), (0.7, 0.75)):
        assert count_model(SLUG, "g_ghost_regnetx_032", {"ratio": one}) == count_model(
            SLUG, "g_ghost_regnetx_032", {"ratio": other}
        )


def test_every_row_that_is_known_is_there(entries: dict[str, Entry]) -> None:
    rows = Counter(place for place, _ in {(entry.where, entry.row) for entry in entries.values()})
    assert rows["RegNet model zoo"] == 12 + 1 and rows["Official code"] == 4 + 2 and rows["Savings"] == 4
    assert rows["Official code (counted)"] == 12 + 3 + 7
    assert {entry.confidence for entry in entries.values() if "counted" in entry.where} == {"computed"}
    assert {entry.confidence for entry in entries.values() if entry.id.startswith("c.")} == {"recalled"}


def test_what_deviates_is_what_the_text_says(entries: dict[str, Entry]) -> None:
    assert {entry.id for entry in entries.values() if entry.verdict == "deviates"} == {
        "c.1.3.params", "c.1.3.macs", "code.080.macs", "counted.006.activations", "ascend.resnet152.activations",
    }  # fmt: skip
