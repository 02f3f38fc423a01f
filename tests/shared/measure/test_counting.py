"""Counts against PyTorch's and fvcore's counters, and against networks whose products are known by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, weight_norm
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from papers.adder_detection.adder import adder2d
from papers.eca_net.model import attention_resnet20
from shared.builders import models
from shared.errors import PapertrailError, UsageError
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


def test_a_detector_counts_what_its_head_computes_without_layers() -> None:
    """Sparse R-CNN: attention between the boxes and, for each box, a convolution whose filters the box makes."""
    pytest.importorskip("mmcv.ops")
    known = models("adder_detection")["sparse_rcnn"]
    with torch.device("meta"):
        network = known.build(classes=known.classes)
    layers = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda layer, _, y: layers.append(y.numel() * layer.weight[0].numel()))
    with torch.no_grad():
        found = count(network, known.input)
    assert found.macs == sum(layers) + 1_151_385_600 == 157_391_462_400
    assert float(found.energy_mj) == pytest.approx(found.macs * 4.6e-9)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Module, tuple[int, ...]]:
    """A convolution of one to three dimensions, and a batch for it."""
    dims, groups, transposed = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.booleans())
    channels = [groups * draw(st.integers(1, 3)) for _ in range(2)]
    kernel, dilation, stride, padding = (draw(st.integers(low, 3)) for low in (1, 1, 1, 0))
    name = f"Conv{'Transpose' * transposed}{dims}d"
    geometry = {"stride": stride, "padding": min(padding, kernel - 1), "dilation": dilation, "groups": groups}
    layer = getattr(nn, name)(*channels, kernel, **geometry, bias=draw(st.booleans()), device="meta")
    sizes = [draw(st.integers(1 + dilation * (kernel - 1), 9)) for _ in range(dims)]
    return layer, (draw(st.integers(1, 3)), channels[0], *sizes)


@given(convolutions())
@settings(max_examples=60, deadline=None)
def test_a_convolution_counts_as_torchs_counter_does_whatever_the_batch(
    made: tuple[nn.Module, tuple[int, ...]],
) -> None:
    layer, batch = made
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.empty(batch, device="meta"))
    assert 2 * batch[0] * count(layer, batch[1:]).macs == counter.get_total_flops()  # type: ignore[arg-type]


EQUATIONS = ["nchw,nchv->nwv", "nchw,ncwv->nchv", "nchw,nchw->n", "nchw,cw->nh", "nchw,kc->nkhw", "nchw,nkhw->nck"]


@given(st.sampled_from(EQUATIONS), st.integers(1, 3), st.dictionaries(st.sampled_from("chwvk"), st.integers(2, 5)))
@settings(max_examples=40, deadline=None)
def test_einsum_counts_as_torchs_counter_does_whatever_the_batch(
    equation: str, batch: int, drawn: dict[str, int]
) -> None:
    sizes = dict.fromkeys("chwvk", 4) | drawn
    other = equation.partition(",")[2].partition("->")[0]

    def forward(x: Tensor) -> Tensor:
        shape = [len(x) if letter == "n" else sizes[letter] for letter in other]
        return torch.einsum(equation, x, x.new_ones(shape))

    image = (sizes["c"], sizes["h"], sizes["w"])
    with FlopCounterMode(display=False) as counter:
        forward(torch.empty(batch, *image, device="meta"))
    assert 2 * batch * macs(forward, image) == counter.get_total_flops()


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
    "product, seen otherwise, scaled and summed": (lambda x: ((x * (x + 1)).mT.flatten(1) / 2).sum(1), 48),
    "half of a product, summed": (lambda x: (x * (x + 1)).chunk(2, 1)[0].sum((1, 2, 3)), 24),
    "window and sum": (lambda x: (x.unfold(2, 3, 1).unfold(3, 3, 1) * x.new_ones(3, 3)).sum((-2, -1)), 2 * 2 * 4 * 9),
    "product of vectors": (lambda x: torch.linalg.vecdot(x, x + 1), 48),
    "transposed conv1d": (lambda x: functional.conv_transpose1d(x.flatten(2), x.new_ones(2, 3, 5)), 24 * 2 * 3 * 5),
    "conv3d": (lambda x: functional.conv3d(x[None], x.new_ones(3, 1, 2, 2, 2)), 3 * 1 * 3 * 5 * 8),
    "mixture of filters": (
        lambda x: functional.conv2d(x, (x.mean((2, 3)) @ x.new_ones(2, 3 * 2)).view(3, 2, 1, 1)),
        2 * 6 + 24 * 6,
    ),
    "weighted sum of filters": (
        lambda x: functional.conv2d(x, (x.mean((0, 2, 3)).view(2, 1, 1, 1, 1) * x.new_ones(2, 3, 2, 1, 1)).sum(0)),
        2 * 6 + 24 * 6,
    ),
    "broadcast matmul": (lambda x: x @ x.new_ones(5, 1, 6, 7), 5 * 8 * 6 * 7),
    "affine grid": (lambda x: functional.affine_grid(x.new_ones(1, 2, 3), (1, 2, 4, 6)), 24 * 2 * 3),
    "mapped": (torch.func.vmap(lambda image: image @ image.mT), 2 * 4 * 6 * 4),
    "constants made in the forward": (lambda x: x @ torch.ones(6, 7), 8 * 6 * 7),
    "grouped attention": (
        lambda x: functional.scaled_dot_product_attention(x, x[:, :1], x[:, :1], enable_gqa=True),
        2 * (4 * 6 * 4 + 4 * 4 * 6),
    ),
    "causal attention": (
        lambda x: functional.scaled_dot_product_attention(x, x, x, is_causal=True),
        2 * (4 * 6 * 4 + 4 * 4 * 6),
    ),
    "unfold": (lambda x: x.new_ones(3, 2 * 4) @ functional.unfold(x, (2, 2)), 3 * 8 * 3 * 5),
    "attention": (lambda x: functional.scaled_dot_product_attention(x, x, x), 2 * (4 * 6 * 4 + 4 * 4 * 6)),
    # Neither of these is a sum of products of what the image and something else give.
    "scaling and pooling": (lambda x: (x * x.mean((2, 3), keepdim=True)).sum((2, 3)), 0),
    "scaling, seen otherwise": (lambda x: (x * x.mean((2, 3), keepdim=True)).flatten(2).mT.clone().sum(1), 0),
    "scaling by what was made as large": (lambda x: (x * x.mean((2, 3), keepdim=True).expand_as(x)).sum((2, 3)), 0),
    "product and pooling": (lambda x: functional.adaptive_avg_pool2d(x * (x + 1), 1), 0),
    "product, then no product": (lambda x: (x * (x + 1)).relu_().sum((2, 3)), 0),
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


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x @ x.new_ones(6, 6)


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = torch.ones(6, 6)  # neither parameter nor buffer

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.table


def tied() -> nn.Module:
    layers = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False))
    layers[1].weight = layers[0].weight
    return layers


LINEAR = 8 * 6 * 6  # MACs of a layer from 6 to 6 numbers, on an image of 2 x 4 x 6
MODULES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {  # with its MACs and its parameters
    "tied": (tied, 2 * LINEAR, 36),
    "used twice": (lambda: nn.Sequential(*[nn.Linear(6, 6, bias=False)] * 2), 2 * LINEAR, 36),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(6), nn.LazyBatchNorm2d()), LINEAR, 36 + 6 + 2 + 2),
    "buffers": (lambda: nn.Sequential(nn.Linear(6, 6, bias=False), nn.BatchNorm2d(2, affine=False)), LINEAR, 36),
    "a constant": (Constant, LINEAR, 0),
    "weight norm": (lambda: parametrizations.weight_norm(nn.Linear(6, 6, bias=False)), LINEAR, 36 + 6),
    "weight norm of old": (lambda: weight_norm(nn.Linear(6, 6, bias=False)), LINEAR, 36 + 6),
    "spectral norm": (lambda: parametrizations.spectral_norm(nn.Linear(6, 6, bias=False)), LINEAR + 36 + 6, 36),
    "compiled": (lambda: nn.Sequential(torch.compile(nn.Linear(6, 6)), nn.Identity()), LINEAR, 42),  # type: ignore
    "half precision": (lambda: nn.Linear(6, 6).half(), LINEAR, 42),
    "frozen": (lambda: nn.Linear(6, 6).requires_grad_(False), LINEAR, 42),
    "in parallel": (lambda: nn.DataParallel(nn.Linear(6, 6)), LINEAR, 42),
    "a function with a gradient of its own": (lambda: Forward(Doubled.apply), LINEAR, 0),
    "computed again": (
        lambda: Forward(lambda x, inner: checkpoint(inner, x, use_reentrant=False), inner=nn.Linear(6, 6)), LINEAR, 42
    ),
    "weights from outside": (
        lambda: Forward(
            lambda x, inner: torch.func.functional_call(inner, {"weight": x.new_ones(6, 6)}, (x,)),
            inner=nn.Linear(6, 6, bias=False),
        ),
        LINEAR,
        36,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_every_kind_count_alike_on_every_device_and_in_every_mode(name: str) -> None:
    make, expected, params = MODULES[name]
    with torch.device("meta"):
        empty = make()
    for network in (make(), make().train(), empty):
        found = count(network, (2, 4, 6))
        assert (found.macs, found.params) == (expected, params)


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
    "aten::_pdist_forward": (lambda x, inner: functional.pdist(x[0, 0]), "calls aten::_pdist_forward"),
    "aten::_embedding_bag": (
        lambda x, inner: functional.embedding_bag(x.new_zeros(1, 6).long(), x[0, 0], mode="sum"),
        "calls aten::_embedding_bag",
    ),
    "of a product": (lambda x, inner: torch.fft.rfft2(x * (x + 1)).abs(), "calls aten::_fft_r2c"),
    "numpy": (lambda x, inner: torch.from_numpy(x.numpy() @ x.numpy()), "cannot be counted: can't convert meta"),
    "papertrail::adder2d": (lambda x, inner: adder2d(x, x.new_ones(3, 2, 1, 1)), "calls papertrail::adder2d"),
    "nonzero": (lambda x, inner: x[x > 0], r"the network \(Forward\) cannot be counted: .*nonzero"),
    "item": (lambda x, inner: x * x.sum().item(), "cannot be counted: .*item"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_or_needs_values_is_refused_by_its_name(name: str) -> None:
    forward, message = REFUSED[name]
    with pytest.raises(PapertrailError, match=message):
        macs(forward, (2, 4, 6), inner=nn.Bilinear(6, 6, 3))


def test_torchscript_is_refused_by_the_name_of_its_module() -> None:
    scripted = torch.jit.script(nn.Conv2d(3, 4, 1))  # type: ignore[no-untyped-call]
    with pytest.raises(PapertrailError, match="1 is TorchScript, which cannot be counted"):
        count(nn.Sequential(nn.Conv2d(3, 3, 1), scripted), (3, 8, 8))


@pytest.mark.parametrize("failing", [nn.Conv2d(3, 4, 9), nn.Linear(5, 5), Forward(lambda x: x.view(x[9]))])
def test_an_image_that_a_layer_cannot_see_is_told_with_the_layer(failing: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"an image of 3,4,4 does not pass 1 \(\w+\): .+") as caught:
        count(nn.Sequential(nn.Conv2d(3, 3, 1), failing), (3, 4, 4))
    assert "\n" not in str(caught.value)


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
