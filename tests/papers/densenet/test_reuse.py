"""Figure 5's numbers against loops over single weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from papers.densenet.model import densenet
from papers.densenet.reuse import feature_reuse


@pytest.mark.parametrize("bottleneck", [False, True])
def test_each_number_is_the_mean_over_the_weights_between_two_layers(bottleneck: bool) -> None:
    torch.manual_seed(0)
    network: Any = densenet(16 if bottleneck else 10, 3, bottleneck, stem=5)
    blocks = feature_reuse(network)
    assert [block.shape for block in blocks] == [(3, 3)] * 3
    second = network.features[2].body[3].weight.detach()  # of the first block; it sees 5 channels and 3
    assert float(blocks[0][0, 1]) == pytest.approx(float(second[:, :5].abs().mean()))
    assert float(blocks[0][1, 1]) == pytest.approx(float(second[:, 5:].abs().mean()))
    assert math.isnan(blocks[0][2, 1])
    transition = network.features[6].weight.detach()
    assert isinstance(network.features[6], nn.Conv2d) and transition.shape[2:] == (1, 1)
    assert float(blocks[0][2, 2]) == pytest.approx(float(transition[:, 8:].abs().mean()))
    entered = transition.shape[0]
    assert float(blocks[1][0, 0]) == pytest.approx(float(network.features[8].body[3].weight.detach().abs().mean()))
    last = network.classifier.weight.detach()
    assert last.shape[1] == entered + 6 + 6
    assert float(blocks[2][1, 2]) == pytest.approx(float(last[:, entered + 6 : entered + 9].abs().mean()))


def test_relative_to_its_start_a_new_network_reads_all_alike() -> None:
    torch.manual_seed(0)
    for block in feature_reuse(densenet(40, 12), relative=True):  # type: ignore[arg-type]
        seen = block[~block.isnan()]
        assert float(seen.min()) > 0.85 and float(seen.max()) < 1.15
