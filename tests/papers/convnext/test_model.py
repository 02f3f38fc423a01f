from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.convnext import MODELS
from papers.convnext.model import Block, ConvNeXt, LayerNorm2d, convnext, convnext_isotropic
from shared.layers.drop_path import DropPath
from tests.statistics import with_statistics


def by_hand(x: Tensor, block: Block) -> Tensor:
    """The block of figure 4 for one image (C, H, W) in float64, tap by tap and place by place."""
    channels, height, width = x.shape
    padded = functional.pad(x, (3, 3, 3, 3))
    weight = block.depthwise.weight[:, 0]
    assert block.depthwise.bias is not None and block.gamma is not None
    seen = torch.stack([(padded[:, i : i + 7, j : j + 7] * weight).sum((1, 2)) + block.depthwise.bias
                        for i in range(height) for j in range(width)])  # fmt: skip
    centred = seen - seen.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt() * block.norm.weight + block.norm.bias
    hidden = normed @ block.expand.weight.T + block.expand.bias
    hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2
    branch = (hidden @ block.project.weight.T + block.project.bias) * block.gamma
    return x + branch.T.reshape(channels, height, width)


def test_the_block_is_figure_4() -> None:
    torch.manual_seed(0)
    block = with_statistics(Block(4)).double()
    assert isinstance(block, Block)
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 4, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(block(x)[0], by_hand(x[0], block), atol=1e-10, rtol=0)


def test_layer_scale_begins_at_a_millionth_and_can_be_left_out() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8, 7, 7)
    scaled, plain = Block(8), Block(8, layer_scale=False)
    plain.load_state_dict({name: tensor for name, tensor in scaled.state_dict().items() if name != "gamma"})
    torch.testing.assert_close(1e6 * (scaled.double()(x.double()) - x), plain.double()(x.double()) - x)


def test_the_isotropic_network_is_stem_blocks_mean_norm_classifier() -> None:
    torch.manual_seed(0)
    network = convnext_isotropic("small", 0.0625, classes=5).eval()
    assert {block.gamma for block in network.blocks} == {None}
    images = torch.randn(2, 3, 48, 32)
    x = functional.unfold(images, 16, stride=16).transpose(1, 2) @ network.stem.weight.flatten(1).T
    x = x.transpose(1, 2).reshape(2, 24, 3, 2)
    for block in network.blocks:
        x = block(x)
    expected = functional.layer_norm(x.mean((2, 3)), (24,), eps=1e-6) @ network.classifier.weight.T
    torch.testing.assert_close(network(images), expected)
    assert expected.std() > 1e-3


def test_stochastic_depth_rises_linearly_over_all_blocks() -> None:
    rates = [layer.rate for layer in convnext("tiny", 0.0625, drop_path=0.34).modules() if isinstance(layer, DropPath)]
    assert rates == pytest.approx([0.02 * place for place in range(18)])
    assert [layer.rate for layer in convnext_isotropic("small", 0.0625, drop_path=0.1).modules()
            if isinstance(layer, DropPath)][::17] == pytest.approx([0, 0.1])  # fmt: skip


def test_initial_weights_are_narrow_and_the_heads_can_be_narrower() -> None:
    torch.manual_seed(0)
    network, tuned = convnext("tiny", 0.5), convnext("tiny", 0.5, head_scale=0.001)
    for name, parameter in network.named_parameters():
        if parameter.dim() > 1 and parameter.numel() > 20_000:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.03), name
        elif name.endswith("bias"):
            assert not parameter.any(), name
    assert tuned.classifier.weight.std().item() == pytest.approx(2e-5, rel=0.03)


def test_features_are_the_four_stages() -> None:
    with torch.device("meta"):
        taps = convnext("base").features(torch.empty(1, 3, 64, 96))
    assert {name: tuple(tap.shape[1:]) for name, tap in taps.items()} == {
        "stage1": (128, 16, 24), "stage2": (256, 8, 12), "stage3": (512, 4, 6), "stage4": (1024, 2, 3),
    }  # fmt: skip


def test_layer_norm_looks_at_the_channels_of_each_place() -> None:
    x = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(LayerNorm2d(5)(x)[1, :, 2, 3], functional.layer_norm(x[1, :, 2, 3], (5,), eps=1e-6))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"widths": (8, 0)}, "channels and blocks"), ({"depths": (1,)}, "channels and blocks"),
     ({"drop_path": 1.0}, "below 1, not 1.0")],
)  # fmt: skip
def test_a_network_that_makes_no_sense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvNeXt(**{"widths": (8, 16), "depths": (1, 1), **wrong})


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_takes_part(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name](width=0.0625, classes=3).train()
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label
