"""The GPU kernels: on a GPU where there is one, else interpreted by Triton on the CPU (see tests/conftest.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from papers.adder_detection import adder
from papers.adder_detection.adder import Adder2d
from shared.files import ROOT
from tests.papers.adder_detection.test_adder import problems

pytest.importorskip("triton", reason="Triton is not installed")
adder_gpu = pytest.importorskip("papers.adder_detection.adder_gpu")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
on_a_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="no GPU")

# For each tile, filters and channels that it does not divide, and what else a layer may have.
CASES = {
    "64 filters": ((1, 33, 3, 4), (35, 33, 1, 3), [1, 1], [0, 1], 1),
    "32 filters": ((1, 20, 4, 5), (18, 20, 3, 2), [2, 1], [1, 0], 1),
    "16 filters, groups": ((2, 18, 5, 4), (18, 9, 2, 3), [1, 2], [0, 1], 2),
    "depthwise": ((2, 3, 7, 6), (3, 1, 3, 3), [2, 2], [1, 1], 3),
    "several tiles": ((2, 9, 7, 9), (70, 9, 2, 1), [1, 1], [0, 0], 1),
    "1 x 1, stride above the kernel": ((1, 70, 4, 4), (6, 70, 1, 1), [2, 3], [0, 2], 1),
    "2 x 2, stride above the kernel": ((1, 10, 9, 9), (12, 10, 2, 2), [3, 4], [0, 1], 1),
    "wide padding": ((1, 2, 4, 5), (9, 2, 1, 2), [1, 1], [3, 5], 1),
}


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.double().cpu(), expected, rtol=1e-5, atol=1e-5)


def compare(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int) -> None:
    how, exact = (stride, padding, groups), (x.double(), weight.double())
    y = adder_gpu.forward(x.to(DEVICE), weight.to(DEVICE), *how)
    close(y, adder.chunked(*exact, *how))
    gradient = torch.randn(y.shape)
    for clip in (False, True):
        found = adder_gpu.input_gradient(gradient.to(DEVICE), x.to(DEVICE), weight.to(DEVICE), *how, clip)
        close(found, adder.chunked_input_gradient(gradient.double(), *exact, *how, clip))


@pytest.mark.parametrize("case", CASES)
def test_kernels_equal_plain_pytorch_in_float64(case: str) -> None:
    shape, filters, *how = CASES[case]
    x, weight = torch.randn(shape), torch.randn(filters)
    x[..., ::2], weight[::2] = x[..., ::2].round(), weight[::2].round()  # so that X and F are often equal
    compare(x, weight, *how)


@settings(deadline=None, max_examples=5)
@given(problems())
def test_kernels_equal_plain_pytorch_at_any_shape(problem: Any) -> None:
    x, weight, how = problem
    compare(x, weight, **how)


def test_the_widest_tile_that_leaves_every_multiprocessor_two_programs() -> None:
    wide, middle, narrow = adder_gpu.TILES
    assert [one.filters for one in (wide, middle, narrow, adder_gpu.ALONE)] == [64, 32, 16, 1]

    def choose(filters: int, positions: int, groups: int = 1, reduced: int = 64) -> Any:
        return adder_gpu.tile(filters, reduced, positions, groups, multiprocessors=132)

    assert [choose(filters, 2**20) for filters in (1, 7, 8, 16)] == [adder_gpu.ALONE] * 2 + [narrow] * 2
    assert [choose(filters, 2**20) for filters in (17, 32, 33, 1000)] == [middle] * 2 + [wide] * 2
    assert choose(64, 263 * 64) == middle and choose(64, 263 * 64 + 1) == wide
    assert choose(64, 8 * 64) == narrow and choose(64, 8 * 64, groups=33) == wide
    assert [choose(64, 2**20, reduced=reduced).depth for reduced in (1, 3, 64)] == [1, 4, 4]


def test_a_narrower_tile_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(1, 5, 3, 3, device=DEVICE), torch.randn(40, 5, 2, 2, device=DEVICE)
    wide = adder_gpu.forward(x, weight, [1, 1], [0, 0], 1)
    monkeypatch.setattr(adder_gpu, "_multiprocessors", lambda device: 1000)
    torch.testing.assert_close(adder_gpu.forward(x, weight, [1, 1], [0, 0], 1), wide)


def test_memory_layout_does_not_matter() -> None:
    x, weight = torch.randn(2, 10, 5, 4, device=DEVICE), torch.randn(8, 10, 2, 2, device=DEVICE)
    how = ([1, 2], [1, 0], 1)
    y = adder_gpu.forward(x, weight, *how)
    gradient = torch.randn(1, 8, 1, 2, device=DEVICE).expand(y.shape)
    for_x = adder_gpu.input_gradient(gradient.contiguous(), x, weight, *how, True)
    strided = torch.zeros(2, 20, 5, 8, device=DEVICE)[:, ::2, :, 1::2].copy_(x)
    last = {"memory_format": torch.channels_last}
    for same, its_gradient in ((x.to(**last), gradient.contiguous(**last)), (strided, gradient)):
        assert not same.is_contiguous() and not its_gradient.is_contiguous()
        assert torch.equal(adder_gpu.forward(same, weight.to(**last), *how), y)
        assert torch.equal(adder_gpu.input_gradient(its_gradient, same, weight, *how, True), for_x)


def test_an_empty_batch() -> None:
    x, weight = torch.empty(0, 4, 5, 5, device=DEVICE), torch.randn(6, 4, 3, 3, device=DEVICE)
    y = adder_gpu.forward(x, weight, [1, 1], [0, 0], 1)
    assert y.shape == (0, 6, 3, 3)
    assert adder_gpu.input_gradient(y, x, weight, [1, 1], [0, 0], 1, True).shape == x.shape


def test_tiny_differences_have_a_sign_and_what_is_no_number_stays_visible() -> None:
    x = torch.tensor([1e-18, -1e-18, 0.0, float("nan")], device=DEVICE).reshape(1, 1, 1, 4)
    weight, how = torch.zeros(1, 1, 1, 1, device=DEVICE), ([1, 1], [0, 0], 1)
    found = adder_gpu.input_gradient(torch.ones_like(x), x, weight, *how, False)
    assert found.flatten().tolist()[:3] == [-1, 1, 0]
    assert adder_gpu.forward(x, weight, *how).isnan().flatten().tolist() == [False, False, False, True]


def test_machine_code_keeps_sums_in_registers_and_taps_in_their_thread() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "tests.papers.adder_detection.machine_code"]
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    kernels = json.loads(told.stdout)
    assert len(kernels) == 8
    for one in kernels:
        assert not {"SHFL", "LDL", "STL"} & one.keys(), one  # shuffles between threads; registers kept in memory
        taps = one["depth"] * one["p_held"] * one["f_held"]
        assert one["FADD"] > taps, one
        # One instruction, and not two, for each HardTanh.
        assert one.get("FMNMX", 0) == (taps if one["kernel"] == "_input_gradient" else 0), one


@on_a_gpu
def test_layer_on_a_gpu_equals_the_layer_on_a_cpu() -> None:
    layer, x = Adder2d(12, 20, 3, 2, 1, groups=2), torch.randn(4, 12, 15, 14, requires_grad=True)
    y = layer(x)
    y.square().sum().backward()
    weights = layer.weight.grad
    assert weights is not None and x.grad is not None
    layer.zero_grad()
    layer.cuda()
    same = x.detach().cuda().requires_grad_()
    with torch.autocast("cuda", torch.bfloat16):
        found = layer(same)
    found.square().sum().backward()
    assert same.grad is not None and layer.weight.grad is not None
    torch.testing.assert_close(found.cpu(), y, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(same.grad.cpu(), x.grad, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(layer.weight.grad.cpu(), weights, rtol=1e-3, atol=1e-1)


def network() -> nn.Module:
    layers = (Adder2d(3, 20, 3, padding=1, input_gradient="clip"), nn.BatchNorm2d(20), nn.ReLU(), Adder2d(20, 40, 3, 2))
    return nn.Sequential(*layers).cuda().to(memory_format=torch.channels_last)


@on_a_gpu
def test_a_step_in_a_cuda_graph_equals_the_eager_one() -> None:
    layers = network()
    x = torch.randn(8, 3, 9, 9, device="cuda").contiguous(memory_format=torch.channels_last).requires_grad_()

    def step() -> list[Tensor]:
        y = layers(x)
        return [y, *torch.autograd.grad(y.square().mean(), [x, *layers.parameters()])]

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        x.copy_(torch.randn_like(x))
    eager = step()
    graph.replay()
    torch.testing.assert_close(captured, eager)


@on_a_gpu
def test_compiled_layers_give_the_same_on_a_gpu() -> None:
    layers, x = network(), torch.randn(8, 3, 9, 9, device="cuda")
    compiled = torch.compile(layers, fullgraph=True)
    torch.testing.assert_close(compiled(x), layers(x), rtol=1e-4, atol=1e-3)
