from __future__ import annotations

import itertools
import math
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from papers.adder_detection import adder, adder_cpu
from papers.adder_detection.adder import Adder2d, InputGradient, adder2d
from shared.measure import count, peak_memory
from shared.measure.cost import threads
from tests.benchmarks import runner as bench

Array = NDArray[np.float64]
GRADIENTS: tuple[InputGradient, ...] = ("sign", "clip")


class Oracle:
    """The layer in plain loops over outputs, in float64: one window and one filter at a time."""

    def __init__(self, x: Tensor, weight: Tensor, stride: Any, padding: Any, groups: int) -> None:
        self.x, self.weight = x.double().numpy(), weight.double().numpy()
        self.stride, self.padding, self.groups = stride, padding, groups
        (down, across) = padding
        self.padded = np.pad(self.x, ((0, 0), (0, 0), (down, down), (across, across)))

    def windows(self) -> Any:
        """Each output's place, and the place of its window in the padded input."""
        outputs, into, kh, kw = self.weight.shape
        height = (self.padded.shape[2] - kh) // self.stride[0] + 1
        width = (self.padded.shape[3] - kw) // self.stride[1] + 1
        for n, o, i, j in itertools.product(range(len(self.x)), range(outputs), range(height), range(width)):
            channel = o // (outputs // self.groups) * into
            top, left = i * self.stride[0], j * self.stride[1]
            yield (n, o, i, j), (n, slice(channel, channel + into), slice(top, top + kh), slice(left, left + kw))

    def forward(self) -> Array:
        (*_, last), _ = zip(*self.windows(), strict=True)
        y = np.empty((last[0] + 1, last[1] + 1, last[2] + 1, last[3] + 1))
        for output, window in self.windows():
            y[output] = -np.abs(self.padded[window] - self.weight[output[1]]).sum()
        return y

    def filter_gradient(self, gradient: Tensor) -> Array:
        g, total = gradient.double().numpy(), np.zeros_like(self.weight)
        for output, window in self.windows():
            total[output[1]] += g[output] * (self.padded[window] - self.weight[output[1]])
        return total

    def input_gradient(self, gradient: Tensor, kind: InputGradient) -> Array:
        g, total = gradient.double().numpy(), np.zeros_like(self.padded)
        for output, window in self.windows():
            difference = self.weight[output[1]] - self.padded[window]
            slope = np.sign(difference) if kind == "sign" else np.clip(difference, -1, 1)
            total[window] += g[output] * slope
        height, width = self.x.shape[2:]
        down, across = self.padding
        return total[:, :, down : down + height, across : across + width]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """An input, filters, and how they meet; half of the time in whole numbers, so that X and F are often equal."""
    groups, into, out = draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    kernel, stride, padding = ([draw(st.integers(low, 4)) for _ in range(2)] for low in (1, 1, 0))
    size = [draw(st.integers(max(1, k - 2 * p), 9)) for k, p in zip(kernel, padding, strict=True)]
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    x = torch.randn(draw(st.integers(1, 3)), groups * into, *size, generator=generator)
    weight = torch.randn(groups * out, into, *kernel, generator=generator)
    if draw(st.booleans()):
        x, weight = x.round(), weight.round()
    return x, weight, {"stride": stride, "padding": padding, "groups": groups}


def close(found: Tensor, expected: Array | Tensor) -> None:
    torch.testing.assert_close(found.double(), torch.as_tensor(expected), rtol=1e-5, atol=1e-4)


@settings(deadline=None, max_examples=40)  # the first example compiles the kernels
@given(problems())
def test_forward_equals_plain_loops(problem: Any) -> None:
    x, weight, how = problem
    expected = Oracle(x, weight, **how).forward()
    close(adder_cpu.forward(x, weight, **how), expected)
    close(adder.chunked(x, weight, **how), expected)
    close(adder2d(x, weight, **how), expected)


@settings(deadline=None, max_examples=40)  # the first example compiles the kernels
@given(problems(), st.sampled_from(GRADIENTS))
def test_gradients_equal_plain_loops(problem: Any, kind: InputGradient) -> None:
    x, weight, how = problem
    x.requires_grad_()
    weight.requires_grad_()
    y = adder2d(x, weight, **how, input_gradient=kind)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    y.backward(gradient)
    x, weight, for_x, for_weight = x.detach(), weight.detach(), x.grad, weight.grad
    oracle = Oracle(x, weight, **how)
    assert for_x is not None and for_weight is not None
    close(for_weight, oracle.filter_gradient(gradient))
    close(for_x, oracle.input_gradient(gradient, kind))
    chunks = adder.chunked_input_gradient(gradient, x, weight, **how, clip=kind == "clip")
    close(chunks, oracle.input_gradient(gradient, kind))


# Many images (of which the buffer holds a part), long rows, many taps, a stride above the kernel, wide padding.
@pytest.mark.parametrize(
    ("shape", "filters", "stride", "padding", "groups"),
    [
        ((70, 16, 32, 32), (16, 16, 3, 3), (1, 1), (1, 1), 1),
        ((2, 3, 5, 700), (5, 3, 3, 7), (1, 2), (1, 3), 1),
        ((3, 300, 4, 4), (9, 300, 1, 1), (1, 1), (0, 0), 1),
        ((2, 6, 11, 13), (4, 3, 2, 2), (3, 4), (0, 1), 2),
        ((1, 2, 4, 5), (3, 2, 1, 2), (1, 1), (6, 5), 1),
    ],
)
def test_kernels_equal_plain_pytorch_at_larger_sizes(
    shape: Any, filters: Any, stride: Any, padding: Any, groups: int
) -> None:
    x, weight = torch.randn(shape), torch.randn(filters)
    y = adder_cpu.forward(x, weight, stride, padding, groups)
    exact = adder.chunked(x.double(), weight.double(), stride, padding, groups)
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-5)
    gradient = torch.randn_like(y)
    for clip in (False, True):
        found = adder_cpu.input_gradient(gradient, x, weight, stride, padding, groups, clip)
        exact = adder.chunked_input_gradient(
            gradient.double(), x.double(), weight.double(), stride, padding, groups, clip
        )
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-4)


def test_input_gradient_sign_is_the_derivative() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(6, 2, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: adder2d(x, weight, 2, 1, 2), (x,))


def test_filter_gradient_is_not_the_derivative_but_the_difference() -> None:
    x, weight = torch.full((1, 1, 1, 1), 5.0), torch.full((1, 1, 1, 1), 2.0, requires_grad=True)
    adder2d(x, weight).backward()
    assert weight.grad is not None and weight.grad.item() == 3  # the derivative is sign(X - F) = 1


@pytest.mark.parametrize(("kind", "expected"), [("sign", [-1.0, -1.0, 0.0, 1.0]), ("clip", [-1.0, -0.5, 0.0, 1.0])])
def test_input_gradients_where_they_bend(kind: InputGradient, expected: list[float]) -> None:
    x = torch.tensor([[3.0, 0.5, 0.0, -4.0]]).reshape(1, 1, 1, 4).requires_grad_()
    adder2d(x, torch.zeros(1, 1, 1, 1), input_gradient=kind).sum().backward()
    assert x.grad is not None and x.grad.flatten().tolist() == expected


def test_tiny_differences_have_a_sign() -> None:
    x = torch.tensor([1e-18, -1e-18]).reshape(1, 1, 1, 2).requires_grad_()
    adder2d(x, torch.zeros(1, 1, 1, 1)).sum().backward()
    assert x.grad is not None and x.grad.flatten().tolist() == [-1, 1]


def test_results_do_not_depend_on_the_count_of_threads() -> None:
    layer = Adder2d(24, 40, 3, padding=1)
    images = torch.randn(8, 24, 20, 20)

    def results() -> list[Tensor]:
        x = images.clone().requires_grad_()
        layer.zero_grad()
        y = layer(x)
        y.square().sum().backward()
        assert x.grad is not None
        return [y.detach(), x.grad]

    with threads(1):
        alone = results()
    for number in (2, 3):
        with threads(number):
            for one, other in zip(alone, results(), strict=True):
                assert torch.equal(one, other)


def test_torchs_threads_sleep_while_ours_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, share_out = [], adder_cpu._share_out

    def watch(number: int, *arguments: Any) -> None:
        seen.append((number, torch.get_num_threads()))
        share_out(number, *arguments)

    monkeypatch.setattr(adder_cpu, "_share_out", watch)
    with threads(3):
        adder2d(torch.randn(2, 4, 8, 8, requires_grad=True), torch.randn(4, 4, 3, 3)).sum().backward()
        assert torch.get_num_threads() == 3
    assert seen == [(3, 1)] * 2


class Computed(torch.utils.data.Dataset[Tensor]):
    """What a layer makes of images, computed by whoever asks."""

    def __init__(self, layer: Adder2d, images: Tensor) -> None:
        self.layer, self.images = layer, images

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> Tensor:
        with torch.no_grad():
            return self.layer(self.images)


def test_a_forked_worker_of_a_data_loader_computes_too() -> None:
    data = Computed(Adder2d(16, 16, 3, padding=1), torch.randn(4, 16, 32, 32))
    with threads(2):
        expected = data[0]  # the threads exist before the fork
        loader = torch.utils.data.DataLoader(
            data, num_workers=1, batch_size=None, timeout=60, multiprocessing_context="fork"
        )
        (found,) = loader
    assert torch.equal(found, expected)


def test_memory_layout_does_not_matter() -> None:
    layer = Adder2d(6, 10, 3, 2, 1)
    images = torch.randn(3, 6, 12, 9)
    plain = images.clone().requires_grad_()
    y = layer(plain)
    gradient = torch.randn(y.shape)
    y.backward(gradient)
    strided = torch.randn(3, 12, 24, 9)
    strided[:, ::2, 1::2] = images
    wide = gradient.repeat_interleave(2, 3)
    for same, its_gradient in (
        (images.to(memory_format=torch.channels_last), gradient.to(memory_format=torch.channels_last)),
        (strided[:, ::2, 1::2], wide[..., ::2]),
    ):
        assert not same.is_contiguous() and not its_gradient.is_contiguous()
        same = same.detach().requires_grad_()
        found = layer(same)
        found.backward(its_gradient)
        torch.testing.assert_close(found, y)
        assert same.grad is not None and plain.grad is not None and torch.equal(same.grad, plain.grad)


def test_an_empty_batch_has_gradients_too() -> None:
    layer, x = Adder2d(4, 6, 3), torch.empty(0, 4, 5, 5, requires_grad=True)
    y = layer(x)
    assert y.shape == (0, 6, 3, 3)
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape
    assert layer.weight.grad is not None and not layer.weight.grad.any()


def test_meta_device_gives_the_shape() -> None:
    with torch.device("meta"):
        layer = Adder2d(4, 6, (3, 2), (2, 1), (1, 0), groups=2)
        x = torch.empty(2, 4, 9, 8, requires_grad=True)
        y = layer(x)
        y.sum().backward()
    assert y.device.type == "meta" and y.shape == (2, 6, 5, 7)
    assert x.grad is not None and x.grad.shape == x.shape


def test_taps_are_counted() -> None:
    layer = Adder2d(4, 6, 3, 2, 1, groups=2)
    found = count(nn.Sequential(layer, nn.BatchNorm2d(6), nn.Conv2d(6, 5, 1)), (4, 8, 8))
    assert found.adder_taps == 6 * 4 * 4 * (2 * 3 * 3)  # six channels of 4 x 4, each from two channels of 3 x 3
    assert found.macs == 5 * 4 * 4 * 6


def test_autocast_computes_with_float32() -> None:
    layer = Adder2d(4, 6, 3, padding=1)
    images = torch.randn(2, 4, 8, 8).bfloat16()
    exact = images.float().requires_grad_()
    y = layer(exact)
    y.square().sum().backward()
    weights = layer.weight.grad
    layer.zero_grad()
    x = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
        found.square().sum().backward()
    assert found.dtype == torch.float32 and torch.equal(found, y)
    assert x.grad is not None and exact.grad is not None
    assert x.grad.dtype == torch.bfloat16 and torch.equal(x.grad, exact.grad.bfloat16())
    assert weights is not None and layer.weight.grad is not None and torch.equal(layer.weight.grad, weights)


def test_compiled_layer_is_one_graph_and_gives_the_same() -> None:
    network = nn.Sequential(Adder2d(4, 6, 3, padding=1), nn.ReLU(), Adder2d(6, 3, 1, 2, input_gradient="clip"))
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    for batch in (2, 3):
        x, same = (torch.ones(batch, 4, 8, 8).mul_(0.5).requires_grad_() for _ in range(2))
        network(x).square().sum().backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        network.zero_grad()
        compiled(same).square().sum().backward()
        assert x.grad is not None and same.grad is not None
        torch.testing.assert_close(same.grad, x.grad, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close([parameter.grad for parameter in network.parameters()], gradients)
        network.zero_grad()


def test_exported_program_has_standard_operators_alone() -> None:
    layer, x = Adder2d(4, 6, (3, 2), (2, 1), (1, 0), groups=2), torch.randn(3, 4, 9, 8)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert "papertrail" not in str(program.graph)
    more = torch.cat([x, -x])
    torch.testing.assert_close(program.module()(more), layer(more), rtol=1e-5, atol=1e-5)


def test_operators_pass_torchs_own_check() -> None:
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    weight = torch.randn(6, 2, 3, 3, requires_grad=True)
    how = ([2, 1], [1, 0], 2, False)
    torch.library.opcheck(adder._adder2d, (x, weight, *how))
    gradient = torch.randn(2, 6, 3, 4)
    torch.library.opcheck(adder._input_gradient, (gradient, x.detach(), weight.detach(), *how))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Adder2d(6, 4, 3, groups=4), "4 groups do not divide 6 and 4 channels"),
        (lambda: Adder2d(6, 4, 3, input_gradient="tanh"), "not 'tanh'"),
        (lambda: Adder2d(6, 4, 3)(torch.zeros(1, 5, 8, 8)), r"5 channels does not fit filters \(4, 6, 3, 3\)"),
        (lambda: Adder2d(6, 4, 3)(torch.zeros(6, 8, 8)), "four dimensions, not 3 and 4"),
        (lambda: Adder2d(6, 4, 5, padding=1)(torch.zeros(1, 6, 8, 2)), "do not fit into an input"),
        (lambda: adder2d(torch.zeros(1, 4, 3, 3), torch.zeros(5, 2, 1, 1), groups=2), "in 2 groups"),
        (lambda: adder2d(torch.zeros(1, 4, 3, 3), torch.zeros(5, 4, 1, 1), input_gradient="l1"), "not 'l1'"),
    ],
)
def test_what_does_not_fit_is_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_not_a_number_stays_visible() -> None:
    x = torch.zeros(1, 1, 1, 3)
    x[..., 1] = math.nan
    assert adder2d(x, torch.ones(1, 1, 1, 1)).isnan().flatten().tolist() == [False, True, False]


def test_equal_input_and_filter_give_zero_or_a_rounding_error_below() -> None:
    weight = torch.randn(7, 40, 3, 3)
    y = torch.stack([adder2d(one[None], weight)[0, k, 0, 0] for k, one in enumerate(weight)])
    assert (y <= 0).all() and (y > -1e-3).all()


def test_without_numba_plain_pytorch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = Adder2d(4, 6, 3, padding=1), torch.randn(2, 4, 8, 8)
    expected = layer(x)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "papers.adder_detection.adder_cpu")
    monkeypatch.delitem(sys.modules, "papers.adder_detection.adder_kernels")
    monkeypatch.delattr("papers.adder_detection.adder_cpu")
    monkeypatch.delattr("papers.adder_detection.adder_kernels")
    adder._module.cache_clear()
    try:
        assert adder._kernels(x, layer.weight) is None
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-5)
    finally:
        adder._module.cache_clear()


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return bench.load("adder")


@pytest.mark.parametrize("training", [False, True])
def test_memory_is_at_most_half_as_much_again_as_convolutions(benchmark: ModuleType, training: bool) -> None:
    networks = benchmark.adder_resnet20(Adder2d), benchmark.adder_resnet20(nn.Conv2d)
    ours, convolutions = (peak_memory(network, (3, 32, 32), batch=16, training=training) for network in networks)
    assert ours <= 1.5 * convolutions


def test_the_benchmarks_broadcast_form_is_the_same_layer(benchmark: ModuleType) -> None:
    layer = Adder2d(4, 6, 3, 2, 1)
    broadcast = benchmark.Broadcast(4, 6, 3, 2, 1)
    broadcast.load_state_dict(layer.state_dict())
    x, same = (torch.linspace(-3, 3, 2 * 4 * 9 * 8).reshape(2, 4, 9, 8).requires_grad_() for _ in range(2))
    for one, images in ((layer, x), (broadcast, same)):
        one(images).square().sum().backward()
    torch.testing.assert_close(broadcast(same), layer(x), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(same.grad, x.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(broadcast.weight.grad, layer.weight.grad, rtol=1e-4, atol=1e-3)
