"""The evidence that claims.yaml names for its explanations, and the oracle."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from papers.ghostnet import DEFAULTS, MODELS
from papers.ghostnet.model import GhostModule, GhostNet, ghost_resnet50, ghost_vgg16
from shared.layers.squeeze_excite import SqueezeExcite
from shared.ledger import Entry
from shared.ledger.judge import judge
from shared.ledger.printed import parse_printed
from shared.measure import count

IMAGENET = DEFAULTS["ghostnet"][0]


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge("ghostnet")}


def millions(value: int) -> float:
    return round(value / 1e6, 2)


@pytest.mark.parametrize(
    ("s", "d", "params", "macs"),
    [
        (2, 1, "7.6M", "157M"),
        (2, 3, "7.7M", "158M"),
        (2, 5, "7.7M", "160M"),
        (2, 7, "7.7M", "163M"),
        (3, 3, "5.2M", "107M"),
        (4, 3, "4.0M", "80M"),
        (5, 3, "3.3M", "65M"),
    ],
)
def test_tables_3_and_4_imply_a_hidden_layer_and_a_ghost_stem(
    s: int, d: int, params: str, macs: str, entries: dict[str, Entry]
) -> None:
    network: Any = ghost_vgg16(s=s, d=d)
    network.features[0] = GhostModule(3, 64, 3, s=s, d=d)
    network.classifier = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    found = count(network, (3, 32, 32))
    name = f"t{4 if s > 2 else 3}.ghost-vgg16-s{s}-d{d}"
    assert (entries[f"{name}.params"].says, entries[f"{name}.macs"].says) == (params, macs)
    assert parse_printed(params).is_print_of(found.params)
    assert parse_printed(macs).is_print_of(found.macs - 512 * (512 + 10))


def test_no_ghost_resnet50_gives_both_printed_parameters() -> None:
    def params(s: int, d: int, compressed: bool) -> int:
        with torch.device("meta"):
            return sum(part.numel() for part in ghost_resnet50(s, d, ghost_classifier=compressed).parameters())

    for d, compressed in itertools.product((1, 3, 5, 7), (False, True)):
        pair = ((2, "13.0M"), (4, "6.5M"))
        assert not all(parse_printed(says).is_print_of(params(s, d, compressed)) for s, says in pair)
    assert [millions(params(s, d, True)) for d in (3, 1) for s in (2, 4)] == [12.93, 6.62, 12.83, 6.46]


def test_a_head_of_1280_explains_mobilenet_v3_small(entries: dict[str, Entry]) -> None:
    for width, params, macs in (
        (0.75, entries["t7.mobilenet-v3-small-0.75.params"].says, entries["t7.mobilenet-v3-small-0.75.macs"].says),
        (1.0, "2.9M", None),  # the parameters that an early version of MobileNetV3 printed
    ):
        network: Any = MODELS["mobilenet_v3_small"](width=width)
        features = network.classifier[0].in_features
        network.classifier = nn.Sequential(nn.Linear(features, 1280), nn.Hardswish(), nn.Linear(1280, 1000))
        found = count(network, IMAGENET)
        assert parse_printed(params).is_print_of(found.params)
        assert macs is None or parse_printed(macs).is_print_of(found.macs)


def test_ghostnet_1_3_is_printed_as_cut() -> None:
    network = GhostNet(width=1.3, rounding="tensorflow")
    found = count(network, IMAGENET)
    assert int(found.macs / 1e6) == 226 and round(found.macs / 1e6, 3) == 226.996
    norms = sum(layer.weight.numel() + layer.bias.numel() for layer in network.modules()
                if isinstance(layer, nn.BatchNorm2d))  # fmt: skip
    assert (millions(found.params), millions(found.params - norms)) == (7.35, 7.32)


def test_width_1_1_tells_the_rounding_rules_apart() -> None:
    macs = {rule: count(GhostNet(width=1.1, rounding=rule), IMAGENET).macs for rule in ("tensorflow", "pytorch")}
    assert {rule: round(value / 1e6, 1) for rule, value in macs.items()} == {"tensorflow": 164.5, "pytorch": 167.0}


def test_pooling_makes_142() -> None:
    network = GhostNet()
    pooled = 0

    def visit(_: nn.Module, inputs: tuple[torch.Tensor, ...], __: torch.Tensor) -> None:
        nonlocal pooled
        pooled += inputs[0].numel()

    twin = GhostNet().to("meta").eval()
    for layer in twin.modules():
        if isinstance(layer, SqueezeExcite | nn.AdaptiveAvgPool2d):
            layer.register_forward_hook(visit)
    twin(torch.empty(1, *IMAGENET, device="meta"))
    assert round((count(network, IMAGENET).macs + pooled) / 1e6, 1) == 141.7


@pytest.mark.parametrize("width", [0.5, 1.0, 1.3])
def test_outputs_equal_timm(width: float, timm: Any) -> None:
    """Equal weights, in the order in which both networks hold them, give outputs equal to 1e-4."""
    torch.manual_seed(0)
    names = {0.5: "ghostnet_050", 1.0: "ghostnet_100", 1.3: "ghostnet_130"}
    theirs = timm.create_model(names[width]).eval()
    ours = GhostNet(width=width).eval()
    for layer in theirs.modules():  # statistics of a trained network, not those of a fresh one
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.uniform_(-0.2, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
    values = list(theirs.state_dict().values())
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-3
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=0)


def test_every_row_of_the_paper_is_there(entries: dict[str, Entry]) -> None:
    rows = {(place, entry.row) for entry in entries.values() for place in entry.places}
    for place, number in {"Table 2": 12, "Table 3": 5, "Table 6": 11, "Table 7": 19, "Figure 6": 9}.items():
        assert len([row for where, row in rows if where == place and " against " not in row]) == number, place


def test_the_numbers_that_we_only_remember_say_so(entries: dict[str, Entry]) -> None:
    for entry in entries.values():
        if entry.where == "Table 2":
            assert entry.confidence == "recalled"
        if entry.where.startswith("Figure"):
            assert entry.confidence == "digitised" and entry.verdict != "exact"


@pytest.mark.parametrize(
    ("claim", "verdict", "ours"),
    [
        ("t7.ghostnet-1.0.params", "exact", "5.182M"),
        ("t7.ghostnet-1.0.macs", "exact", "141.15M"),
        ("t8.ghostnet-1.1.macs", "exact", "164.48M"),
        ("t6.ghost-resnet50-s2.params", "deviates", "13.954M"),
        ("t5.ghost-resnet56.macs", "deviates", "65.29M"),
        ("t3.vgg16.params", "deviates", "14.724M"),
    ],
)
def test_verdicts_that_the_text_speaks_of(claim: str, verdict: str, ours: str, entries: dict[str, Entry]) -> None:
    assert (entries[claim].verdict, entries[claim].ours) == (verdict, ours)
