"""Counts against PyTorch's and fvcore's counters, and against networks whose products are known by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from papers.adder_detection.adder import adder2d
from papers.eca_net.model import attention_resnet20
from shared.builders import models
from shared.errors import PapertrailError
from shared.measure import count
from shared.paper import papers

NETWORKS = [(slug, name) for slug in papers() for name in models(slug)]


class Forward(nn.Module):
    """A network whose forward is a function of the image; it may own layers."""

    def __init__(self, forward: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.call = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, **dict(self.named_children()))


def macs(forward: Callable[..., Tensor], shape: tuple[int, int, int], **layers: nn.Module) -> int:
    return count(Forward(forward, **layers), shape).macs


@pytest.mark.parametrize(("slug", "name"), NETWORKS)
def test_every_network_of_every_paper_counts_as_torchs_own_counter_does(slug: str, name: str) -> None:
    known = models(slug)[name]
    if name not in importlib.import_module(f"papers.{slug}").MODELS:  # a detector
        pytest.importorskip("mmcv.ops")
    with torch.device("meta"):
        network = known.build(classes=known.classes).requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        found = count(network, known.input)
    assert 2 * found.macs == counter.get_total_flops() > 0
    assert found.params == sum(parameter.numel() for parameter in network.parameters())


def test_macs_and_activations_equal_fvcores() -> None:
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    model = models("ghostnet")["resnet20"].build().eval()
    images = torch.zeros(1, 3, 32, 32)
    ours = count(model, (3, 32, 32))
    by_operator = FlopCountAnalysis(model, images).unsupported_ops_warnings(False).by_operator()
    assert ours.macs == by_operator["conv"] + by_operator["linear"]
    assert ours.activations == ActivationCountAnalysis(model, images).unsupported_ops_warnings(False).total()


def test_a_known_network_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2), nn.Flatten(), nn.Linear(6 * 4 * 4, 5))
    found = count(model, (2, 8, 8))
    assert found.macs == 6 * 16 * 9 + 96 * 5
    assert found.params == 6 * 9 + 6 + 96 * 5 + 5
    assert found.activations == 6 * 16 + 5
    assert found.additions == found.multiplications == found.macs


@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_multiplies_each_input_by_each_tap(groups: int) -> None:
    layer = nn.ConvTranspose2d(4, 6, 2, stride=2, groups=groups, bias=False)
    assert count(layer, (4, 5, 5)).macs == 5 * 5 * 4 * (6 // groups) * 2 * 2


def test_a_layer_that_is_used_twice_counts_twice_and_is_held_once() -> None:
    found = count(Forward(lambda x, conv: conv(conv(x)), conv=nn.Conv2d(3, 3, 1, bias=False)), (3, 4, 4))
    assert (found.macs, found.params, found.activations) == (2 * 16 * 9, 9, 2 * 48)


def per_sample(x: Tensor, make: nn.Module) -> Tensor:
    """A convolution whose filters each image makes for itself, the batch folded into the groups."""
    filters = make(x.mean((2, 3))).view(-1, 3, 3, 3)
    return functional.conv2d(x.flatten(0, 1)[None], filters, padding=1, groups=len(x))


def test_a_convolution_with_filters_of_the_image_counts() -> None:
    assert macs(per_sample, (3, 8, 8), make=nn.Linear(3, 5 * 27)) == 3 * 5 * 27 + 5 * 27 * 64


FUNCTIONAL: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {  # of an image of 2 x 4 x 6
    "conv2d": (lambda x: functional.conv2d(x, x.new_ones(3, 2, 1, 3)), 3 * 4 * 4 * 6),
    "conv1d": (lambda x: functional.conv1d(x.flatten(2), x.new_ones(3, 2, 5)), 3 * 20 * 10),
    "linear": (lambda x: functional.linear(x, x.new_ones(5, 6), x.new_ones(5)), 8 * 6 * 5),
    "linear of a vector": (lambda x: functional.linear(x.flatten(), x.new_ones(5, 48)), 48 * 5),
    "matmul": (lambda x: x @ x.new_ones(6, 7), 8 * 6 * 7),
    "matmul of a vector": (lambda x: x @ x.new_ones(6), 8 * 6),
    "bmm": (lambda x: x[0].bmm(x[0].mT), 2 * 4 * 6 * 4),
    "baddbmm": (lambda x: torch.baddbmm(x.new_ones(2, 4, 4), x[0], x[0].mT, alpha=2), 2 * 4 * 6 * 4),
    "einsum": (lambda x: torch.einsum("nchw,nchv->nwv", x, x), 2 * 4 * 6 * 6),
    "tensordot": (lambda x: torch.tensordot(x[0], x[0], dims=([0, 1], [0, 1])), 8 * 6 * 6),
    "dot": (lambda x: torch.dot(x.flatten(), x.flatten()), 48),
    "product and sum": (lambda x: (x * x.new_ones(4, 6)).sum((2, 3)), 48),
    "product and sum of all": (lambda x: x.mul(x + 1).sum(), 48),
    "unfold": (lambda x: x.new_ones(3, 2 * 4) @ functional.unfold(x, (2, 2)), 3 * 8 * 3 * 5),
    "attention": (lambda x: functional.scaled_dot_product_attention(x, x, x), 2 * (4 * 6 * 4 + 4 * 4 * 6)),
    # Neither of these is a sum of products of what the image and something else give.
    "scaling and pooling": (lambda x: (x * x.mean((2, 3), keepdim=True)).sum((2, 3)), 0),
    "scaling": (lambda x: (x * 2 * x.new_ones(2, 1, 1)).sum((2, 3)), 0),
    "norm": (lambda x: x / (x * x).sum(1, keepdim=True) / torch.linalg.vector_norm(x), 0),
    "pooling": (lambda x: functional.avg_pool2d(functional.interpolate(x, scale_factor=2, mode="bilinear"), 2), 0),
}


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_functions_count_as_layers_do(name: str) -> None:
    forward, expected = FUNCTIONAL[name]
    assert macs(forward, (2, 4, 6)) == expected


def test_what_is_computed_under_inference_mode_counts() -> None:
    assert macs(torch.inference_mode()(per_sample), (3, 8, 8), make=nn.Linear(3, 5 * 27)) == 3 * 5 * 27 + 5 * 27 * 64


@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_attention_counts_its_projections_and_its_two_products(need_weights: bool) -> None:
    def forward(x: Tensor, attend: nn.Module) -> Tensor:
        tokens = x.flatten(2).mT
        return attend(tokens, tokens, tokens, need_weights=need_weights)[0]

    found = count(Forward(forward, attend=nn.MultiheadAttention(16, 4, batch_first=True)), (16, 3, 3))
    assert found.macs == 9 * 4 * 16 * 16 + 2 * 9 * 9 * 16
    assert found.activations == 9 * 4 * 16 + 4 * 9 * 9 + 9 * 16


def test_a_transformers_layer_and_a_recurrent_one_by_hand() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    expected = 9 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 9 * 9 * 16
    assert macs(lambda x, layer: layer(x.flatten(2).mT), (16, 3, 3), layer=layer) == expected
    assert macs(lambda x, layer: layer(x[0])[0], (2, 3, 5), layer=nn.LSTM(5, 7)) == 2 * 3 * 4 * (5 + 7) * 7


@pytest.mark.parametrize(("attention", "a_channel"), [("none", 0), ("se-var1", 0), ("se-var2", 1), ("eca-ns", 3)])
def test_the_maps_of_channel_attention_without_a_layer_count(attention: str, a_channel: int) -> None:
    with torch.device("meta"):
        plain, network = (attention_resnet20(name, kernel="333") for name in ("none", attention))
    extra = count(network, (3, 32, 32)).macs - count(plain, (3, 32, 32)).macs
    assert extra == a_channel * 3 * (16 + 32 + 64)  # three modules in each of the three stages


class Adder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        windows = x @ torch.ones(3, 3, device=x.device)  # how it adds is no matter of the count
        return -(windows[:, :, None] - torch.ones(4, device=x.device)).abs().sum(1)

    def adder_taps(self, output: Tensor) -> int:
        return output.numel() * 3


def test_adder_layers_count_additions_and_no_multiplication() -> None:
    found = count(nn.Sequential(nn.Flatten(), Adder(), nn.Linear(4, 2)), (3, 1, 1))
    assert (found.macs, found.adder_taps, found.multiplications, found.additions) == (8, 12, 8, 8 + 24)
    assert found.activations == 4 + 2


REFUSED: dict[str, tuple[Callable[..., Tensor], str]] = {
    "aten::_trilinear": (lambda x, inner: inner(x, x), r"inner \(Bilinear\) calls aten::_trilinear, which has no rule"),
    "aten::_cdist_forward": (lambda x, inner: torch.cdist(x, x), r"the network \(Forward\) calls aten::_cdist_forward"),
    "aten::_fft_r2c": (lambda x, inner: torch.fft.rfft2(x).abs(), "calls aten::_fft_r2c"),
    "papertrail::adder2d": (lambda x, inner: adder2d(x, x.new_ones(3, 2, 1, 1)), "calls papertrail::adder2d"),
    "nonzero": (lambda x, inner: x[x > 0], r"the network \(Forward\) cannot be counted: .*nonzero"),
    "item": (lambda x, inner: x * x.sum().item(), "cannot be counted: .*item"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_or_needs_values_is_refused_by_its_name(name: str) -> None:
    forward, message = REFUSED[name]
    with pytest.raises(PapertrailError, match=message):
        macs(forward, (2, 4, 6), inner=nn.Bilinear(6, 6, 3))


def test_an_operator_of_mmcv_that_has_no_form_for_the_meta_device_is_refused_by_its_name() -> None:
    ops: Any = pytest.importorskip("mmcv.ops")
    network = nn.Sequential(nn.Conv2d(3, 4, 1), ops.ModulatedDeformConv2dPack(4, 4, 3, padding=1))
    with pytest.raises(PapertrailError, match=r"1 \(ModulatedDeformConv2dPack\) cannot be counted: modulated_deform"):
        count(network, (3, 8, 8))


def test_counting_leaves_the_network_as_it_was() -> None:
    model = models("ghostnet")["resnet20"].build().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count(model, (3, 32, 32))
    assert model.training
    assert all(not layer._forward_hooks and not layer._forward_pre_hooks for layer in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
