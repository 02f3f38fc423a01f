"""The adder layer (Chen et al., AdderNet, CVPR 2020): similarity by the sum of absolute differences, no multiplication.

    Y[n, o, m] = - sum over the taps t of |X[n, m, t] - F[o, t]|                                        (equation 2)

The taps of output position m are those of a convolution, and zero padding takes part in the sum.
"""

from __future__ import annotations

import functools
import itertools
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

from papers.adder_detection.adder_common import output_size

InputGradient = Literal["sign", "clip"]

CHUNK = 2**22  # elements that the plain PyTorch path holds at once in each of its buffers


def adder2d(
    x: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    groups: int = 1,
    input_gradient: InputGradient = "sign",
) -> Tensor:
    """-sum |X - F| over each window: (N, I, H, W) and (O, I / groups, kh, kw) to (N, O, H', W').

    H' and W' are a convolution's. The backward pass is the papers', not the derivative:

    - filters: sum over m of g (X - F), the full-precision gradient of CVPR 2020, equation 5;
    - input, "sign": sum over o of g sign(F - X), the derivative (NeurIPS 2021, "L1 gradients");
    - input, "clip": sum over o of g HardTanh(F - X), CVPR 2020, equations 6 and 7.

    Under autocast it computes with float32. An exported program (torch.export, ONNX) has standard operators instead,
    which hold |X - F| for all windows and filters at once.

    Raises:
        ValueError: shapes that do not fit each other, or an unknown `input_gradient`.
    """
    if input_gradient not in ("sign", "clip"):
        raise ValueError(f'input_gradient is "sign" or "clip", not {input_gradient!r}')
    if x.ndim != 4 or weight.ndim != 4:
        raise ValueError(f"the input and the filters have four dimensions, not {x.ndim} and {weight.ndim}")
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ValueError(
            f"an input of {x.shape[1]} channels does not fit filters {tuple(weight.shape)} in {groups} groups"
        )
    if any(
        size + 2 * pad < kernel for size, pad, kernel in zip(x.shape[2:], _pair(padding), weight.shape[2:], strict=True)
    ):
        raise ValueError(
            f"filters {tuple(weight.shape)} do not fit into an input {tuple(x.shape)} with padding {padding}"
        )
    if torch.compiler.is_exporting():
        return _by_broadcasting(x, weight, _pair(stride), _pair(padding), groups)
    return _adder2d(x, weight, _pair(stride), _pair(padding), groups, input_gradient == "clip")


class Adder2d(nn.Module):
    """An adder layer in the place of `nn.Conv2d`, without bias: (N, in, H, W) to (N, out, H', W').

    The filters, (out, in / groups, kh, kw), are drawn from N(0, 1). See `adder2d` for the gradients, and
    `papers.adder_detection.method` for the learning rate that belongs to them.

    Raises:
        ValueError: `groups` does not divide both channel counts, or an unknown `input_gradient`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        groups: int = 1,
        *,
        input_gradient: InputGradient = "sign",
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{groups} groups do not divide {in_channels} and {out_channels} channels")
        if input_gradient not in ("sign", "clip"):
            raise ValueError(f'input_gradient is "sign" or "clip", not {input_gradient!r}')
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.groups = groups
        self.input_gradient = input_gradient
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the filters from N(0, 1)."""
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """-sum |X - F|: (N, in, H, W) to (N, out, H', W')."""
        return adder2d(x, self.weight, self.stride, self.padding, self.groups, self.input_gradient)

    def adder_taps(self, output: Tensor) -> int:
        """Subtract-and-accumulate steps that gave `output`."""
        return output.numel() * self.weight[0].numel()

    def extra_repr(self) -> str:
        """The constructor's arguments."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, groups={self.groups}, input_gradient={self.input_gradient!r}"
        )


@torch.library.custom_op("papertrail::adder2d", mutates_args=())
def _adder2d(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool) -> Tensor:
    kernels = _kernels(x, weight)
    if kernels is not None:
        return kernels.forward(x, weight, stride, padding, groups)
    return chunked(x, weight, stride, padding, groups)


@_adder2d.register_fake
def _(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool) -> Tensor:
    return x.new_empty(functional.conv2d(x, weight, None, stride, padding, 1, groups).shape)


@torch.library.custom_op("papertrail::adder2d_input_gradient", mutates_args=())
def _input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool
) -> Tensor:
    kernels = _kernels(x, weight)
    if kernels is not None:
        return kernels.input_gradient(gradient, x, weight, stride, padding, groups, clip)
    return chunked_input_gradient(gradient, x, weight, stride, padding, groups, clip)


@_input_gradient.register_fake
def _(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool
) -> Tensor:
    return x.new_empty(x.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, *ctx.how = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    stride, padding, groups, clip = ctx.how
    for_x = for_weight = None
    if ctx.needs_input_grad[0]:
        for_x = _input_gradient(gradient, x, weight, stride, padding, groups, clip)
    if ctx.needs_input_grad[1]:
        # sum over m of g (X - F): what a convolution's filters would get, less F times the sum of g.
        products = conv2d_weight(x, list(weight.shape), gradient, stride, padding, 1, groups)
        for_weight = products - weight * gradient.sum((0, 2, 3))[:, None, None, None]
    return for_x, for_weight, None, None, None, None


_adder2d.register_autograd(_backward, setup_context=_remember)
for _device in ("cpu", "cuda"):
    _adder2d.register_autocast(_device, torch.float32)


def _kernels(x: Tensor, weight: Tensor) -> ModuleType | None:
    """The module with `forward` and `input_gradient` for such tensors; None where only plain PyTorch will do."""
    return _module(x.device.type) if x.dtype == weight.dtype == torch.float32 else None


@functools.cache
def _module(device: str) -> ModuleType | None:
    try:
        if device == "cpu":
            from papers.adder_detection import adder_cpu

            return adder_cpu
        if device == "cuda":
            from papers.adder_detection import adder_gpu

            return adder_gpu
    except ModuleNotFoundError:  # no Numba, or no Triton
        pass
    return None


def chunked(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int) -> Tensor:
    """The layer in plain PyTorch, for any device and floating type, a few windows at a time."""
    taps = weight[0].numel()
    height, width = output_size(x, weight, stride, padding)
    y = x.new_empty(len(x), len(weight), height, width)
    step = max(1, CHUNK // (taps * height * width))
    for images, (of_x, filters) in itertools.product(range(0, len(x), step), _groups(x, weight, groups)):
        part = slice(images, images + step)
        windows = functional.unfold(x[part, of_x], weight.shape[2:], padding=tuple(padding), stride=tuple(stride))
        distances = torch.cdist(windows.transpose(1, 2).contiguous(), weight[filters].flatten(1), p=1)
        y[part, filters] = -distances.transpose(1, 2).unflatten(2, (height, width))
    return y


def chunked_input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool
) -> Tensor:
    """The input's gradient in plain PyTorch, for any device and floating type, a few windows at a time."""
    height, width = output_size(x, weight, stride, padding)
    for_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    how = {"kernel_size": weight.shape[2:], "padding": tuple(padding), "stride": tuple(stride)}
    for image, (of_x, filters) in itertools.product(range(len(x)), _groups(x, weight, groups)):
        kernels = weight[filters].flatten(1)
        windows = functional.unfold(x[image, of_x], **how)
        g = gradient[image, filters].flatten(1)
        for_windows = torch.empty_like(windows)
        step = max(1, CHUNK // kernels.numel())
        for first in range(0, height * width, step):
            part = slice(first, first + step)
            slopes = kernels[:, :, None] - windows[None, :, part]
            slopes = slopes.clamp_(-1, 1) if clip else slopes.sign_()
            for_windows[:, part] = slopes.mul_(g[:, None, part]).sum(0)
        for_x[image, of_x] = functional.fold(for_windows, x.shape[2:], **how)
    return for_x


def _by_broadcasting(
    x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int], groups: int
) -> Tensor:
    windows = functional.unfold(x, weight.shape[2:], padding=padding, stride=stride).unflatten(1, (groups, 1, -1))
    filters = weight.flatten(1).unflatten(0, (groups, -1)).unsqueeze(-1)
    y = -(windows - filters).abs().sum(3).flatten(1, 2)
    return y.unflatten(2, output_size(x, weight, stride, padding))


def _groups(x: Tensor, weight: Tensor, groups: int) -> list[tuple[slice, slice]]:
    """For each group its channels of the input and its filters."""
    into, out = x.shape[1] // groups, len(weight) // groups
    return [(slice(g * into, (g + 1) * into), slice(g * out, (g + 1) * out)) for g in range(groups)]


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
