"""The GPU kernels. Without a GPU nothing here runs, unless Triton is there and interprets (TRITON_INTERPRET=1)."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

from papers.adder_detection import adder
from papers.adder_detection.adder import Adder2d

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

pytest.importorskip("triton", reason="Triton is not installed")
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("no GPU", allow_module_level=True)


@pytest.mark.parametrize(
    ("shape", "filters", "stride", "padding", "groups"),
    [
        ((2, 3, 7, 9), (5, 3, 3, 3), [1, 1], [1, 1], 1),
        ((3, 6, 8, 5), (140, 3, 3, 2), [2, 1], [1, 0], 2),
        ((1, 70, 4, 4), (6, 70, 1, 1), [2, 3], [0, 2], 1),
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_kernels_equal_plain_pytorch_in_float64(
    shape: Any, filters: Any, stride: Any, padding: Any, groups: int, whole: bool
) -> None:
    from papers.adder_detection import adder_gpu

    x, weight = torch.randn(shape, device=DEVICE), torch.randn(filters, device=DEVICE)
    if whole:  # so that X and F are often equal
        x, weight = x.round(), weight.round()
    how = (stride, padding, groups)
    y = adder_gpu.forward(x, weight, *how)
    exact = adder.chunked(x.double(), weight.double(), *how)
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-4)
    gradient = torch.randn_like(y)
    for clip in (False, True):
        found = adder_gpu.input_gradient(gradient, x, weight, *how, clip)
        exact = adder.chunked_input_gradient(gradient.double(), x.double(), weight.double(), *how, clip)
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


@pytest.mark.skipif(INTERPRETED, reason="the layer takes the kernels on a GPU alone")
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
