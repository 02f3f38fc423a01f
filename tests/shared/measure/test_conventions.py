"""The tools' rules on networks whose counts are known by hand, and on what the tools themselves are known to give."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from papers.eca_net import MODELS
from shared.measure import count
from shared.measure.conventions import Tool, operations, parameters

IMAGENET = (3, 224, 224)


class Residual(nn.Module):
    """Two convolutions and two activations, as a residual block has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1, bias=False))
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.body(x))


PLAIN = nn.Sequential(
    nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2, bias=False), nn.BatchNorm2d(6), nn.ReLU6(), nn.MaxPool2d(2),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5),
)  # fmt: skip
# Of an image of 8 x 8: 6 x 4 x 4 elements after the convolution, 6 x 2 x 2 after the pooling.
CONVOLVED, POOLED = 6 * 16, 6 * 4


def test_thop_by_hand() -> None:
    convolution, norm, relu = CONVOLVED * 9, 4 * CONVOLVED, CONVOLVED
    pooling, mean, linear = POOLED * 2, 6 * (4 + 1), 5 * (6 + 5)
    assert operations(PLAIN, (2, 8, 8), "thop") == convolution + norm + relu + pooling + mean + linear


def test_mmdetection_by_hand() -> None:
    convolution, norm, relu = CONVOLVED * 9, 2 * CONVOLVED, CONVOLVED
    pooling, mean, linear = CONVOLVED, POOLED, 5 * 6
    assert operations(PLAIN, (2, 8, 8), "mmdetection") == convolution + norm + relu + pooling + mean + linear


def test_mmcv_counts_a_transposed_convolution_as_it_is() -> None:
    layer = nn.ConvTranspose2d(2, 6, 3, stride=2, padding=1)
    taps, biases = 2 * 8 * 8 * 6 * 9, 6 * 15 * 15
    assert operations(layer, (2, 8, 8), "mmcv") == taps + biases
    assert operations(PLAIN, (2, 8, 8), "mmcv") == operations(PLAIN, (2, 8, 8), "mmdetection")


def test_thop_keeps_the_last_use_of_a_blocks_relu() -> None:
    """As if both activations of the block were one layer; MMDetection's counter sums its uses up."""
    elements = 4 * 9
    thop_convolutions, others = elements * (1 + 1) * 4 + elements * 4, elements * (4 + 1) + elements * 4
    assert operations(Residual(), (4, 3, 3), "thop") == thop_convolutions + elements
    assert operations(Residual(), (4, 3, 3), "mmdetection") == others + 2 * elements
    assert operations(nn.Sequential(Residual(), Residual()), (4, 3, 3), "thop") == 2 * (thop_convolutions + elements)


@pytest.mark.parametrize("inner", [nn.ReLU6, nn.Sigmoid])
def test_what_is_not_shared_and_what_is_not_counted(inner: type[nn.Module]) -> None:
    block = Residual()
    block.body[1] = inner()
    elements = 4 * 9
    extra = elements if inner is nn.ReLU6 else 0
    assert operations(block, (4, 3, 3), "thop") == elements * (8 + 4) + elements + extra


# Written down from runs of thop 0.0.22 on the official code's networks: 32-bit sums, so that the last digits are rough.
@pytest.mark.parametrize(
    ("name", "gibi"),
    [
        ("eca_resnet18", 1.7019634),
        ("eca_resnet50", 3.8634376),
        pytest.param("eca_resnet34", 3.4304702, marks=pytest.mark.slow),
        pytest.param("eca_resnet101", 7.3462276, marks=pytest.mark.slow),
        pytest.param("eca_resnet152", 10.8349876, marks=pytest.mark.slow),
    ],
)
def test_thop_itself_counts_the_same(name: str, gibi: float) -> None:
    with torch.device("meta"):
        network = MODELS[name]()
    assert operations(network, IMAGENET, "thop") / 2**30 == pytest.approx(gibi, abs=2e-6)


def test_one_counts_all_parameters_and_the_other_the_trainable_ones() -> None:
    network = Residual()
    network.body[0].requires_grad_(False)
    assert parameters(network, "thop") == 4 * 4 + 4 + 4 * 4
    assert parameters(network, "mmdetection") == 4 * 4


@pytest.mark.parametrize("tool", ["thop", "mmdetection", "mmcv"])
def test_a_tool_counts_more_than_multiply_adds_and_leaves_the_network_alone(tool: Tool) -> None:
    network = MODELS["resnet20"](width=0.5).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert operations(network, (3, 32, 32), tool) > count(network, (3, 32, 32)).macs
    assert network.training and all(not layer._forward_hooks for layer in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_command_counts_as_a_tool_does() -> None:
    from typer.testing import CliRunner

    from shared.cli import app

    found = CliRunner().invoke(app, ["count", "eca_net", "eca_resnet18", "--tool", "thop", "--json"])
    row = json.loads(found.stdout)
    assert row["thop_params"] == row["params"] == 11_689_556
    assert row["thop_macs"] / 2**30 == pytest.approx(1.7019634, abs=2e-6) and row["macs"] < row["thop_macs"]
    assert CliRunner().invoke(app, ["count", "eca_net", "eca_resnet18", "--tool", "fvcore"]).exit_code == 2
