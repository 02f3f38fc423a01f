"""The evidence that claims.yaml names for its explanations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from papers.eca_net import MODELS
from shared.ledger import Entry
from shared.ledger.judge import judge
from shared.ledger.printed import parse_printed
from shared.measure.conventions import operations, parameters

pytest.importorskip("mmcv.ops")

from papers.eca_net import detectors

IMAGENET, COCO = (3, 224, 224), (3, 800, 1280)


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    return {entry.id: entry for entry in judge("eca_net")}


class Mean(nn.Module):
    """Global average pooling that no tool knows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True)


def test_the_last_mean_explains_eca_mobilenet_v2(entries: dict[str, Entry]) -> None:
    with torch.device("meta"):
        network: Any = MODELS["eca_mobilenet_v2"]()
    before = operations(network, IMAGENET, "thop")
    network.pool = Mean()
    after = operations(network, IMAGENET, "thop")
    says = parse_printed(entries["t3.mobilenet-v2.eca.macs"].says, binary=True)
    assert (says.text, before - after) == ("319.9M", 7 * 7 * 1280 + 1280)
    assert says.is_print_of(after) and not says.is_print_of(before)


@pytest.mark.parametrize("backbone", ["resnet50", "resnet101"])
@pytest.mark.parametrize("attention", ["none", "se", "eca"])
def test_outputs_for_the_background_explain_mask_rcnn(backbone: str, attention: str, entries: dict[str, Entry]) -> None:
    with torch.device("meta"):
        network: Any = detectors.detector("mask_rcnn", backbone, attention)
        head = network.detector.roi_head
        head.bbox_head.fc_reg = nn.Linear(1024, 4 * 81)
        head.mask_head.conv_logits = nn.Conv2d(256, 81, 1)
    for quantity, found in (
        ("params", parameters(network, "mmdetection")),
        ("macs", operations(network, COCO, "mmdetection")),
    ):
        entry = entries[f"t5.mask-rcnn.{backbone}.{attention}.{quantity}"]
        assert parse_printed(entry.says).is_print_of(found), (entry.says, found)


def test_no_detector_but_mask_rcnn_deviates(entries: dict[str, Entry]) -> None:
    counts = [entry for entry in entries.values() if entry.check == "count"]
    deviating = {entry.id for entry in counts if entry.verdict != "exact"}
    assert len(counts) == 36 + 29
    assert {name.rpartition(".")[0] for name in deviating if name.startswith("t5")} == {
        f"t5.mask-rcnn.{backbone}.{attention}"
        for backbone in ("resnet50", "resnet101") for attention in ("none", "se", "eca")
    }  # fmt: skip
    assert {name for name in deviating if not name.startswith("t5")} == {
        "t3.mobilenet-v2.eca.macs", "code.eca-resnet152.params",
    }  # fmt: skip


def test_se_in_mobilenet_v2_has_a_reduction_of_8(entries: dict[str, Entry]) -> None:
    """Of the reductions that one would choose, 8 alone gives the printed parameters; the FLOPs agree."""
    says = {quantity: parse_printed(entries[f"t3.mobilenet-v2.se.{quantity}"].says, binary=True)
            for quantity in ("params", "macs")}  # fmt: skip
    fitting = []
    for reduction in (2, 4, 8, 16, 32):
        with torch.device("meta"):
            network = MODELS["se_mobilenet_v2"](reduction=reduction)
        if says["params"].is_print_of(parameters(network, "thop")):
            fitting.append(reduction)
            assert says["macs"].is_print_of(operations(network, IMAGENET, "thop"))
    assert fitting == [8]


def test_every_row_of_the_paper_is_there(entries: dict[str, Entry]) -> None:
    rows: dict[str, set[str]] = {}
    for entry in entries.values():
        if entry.quantity not in ("fps", "ordering"):
            for place in entry.places:
                rows.setdefault(place, set()).add(entry.row)
    expected = {"Table 2": 10, "Table 3": 19, "Table 4": 7, "Table 5": 20, "Table 6": 8}
    assert {place: len(rows[place]) for place in expected} == expected


def test_the_paper_contradicts_itself_where_the_text_says_so(entries: dict[str, Entry]) -> None:
    says = {name: entries[name].says for name in (
        "t2.vanilla.top5", "t3.resnet-50.none.top5", "t2.eca.top1", "t3.resnet-50.eca.top1",
        "code.eca-resnet50.top1", "code.eca-resnet152.params", "t3.resnet-152.eca.params",
    )}  # fmt: skip
    assert list(says.values()) == ["92.25", "92.52", "77.43", "77.48", "77.42", "57.41M", "57.40M"]
