"""The adder layer on a GPU, for float32: Triton kernels that hold no windows.

A program holds the sums of some positions for some filters (or channels) in registers and adds one tap after another.
"""
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

POSITIONS, FILTERS = 64, 64  # of one program; powers of two


def forward(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int) -> Tensor:
    """-sum |X - F|: (N, I, H, W) and (O, I / groups, kh, kw) to (N, O, H', W'), float32."""
    outputs, channels, *kernel = weight.shape
    height, width = (
        (size + 2 * pad - taps) // step + 1
        for size, taps, step, pad in zip(x.shape[2:], kernel, stride, padding, strict=True)
    )
    y = x.new_empty((len(x), outputs, height, width))
    if y.numel():
        # (groups, taps, filters), so that neighbouring filters are neighbours in memory.
        filters = weight.unflatten(0, (groups, -1)).flatten(2).transpose(1, 2).contiguous()
        positions = len(x) * height * width
        grid = (triton.cdiv(positions, POSITIONS), triton.cdiv(outputs // groups, FILTERS), groups)
        _forward[grid](
            x.contiguous(), filters, y, positions, channels, outputs // groups, *x.shape[2:], height, width,
            *stride, *padding, *kernel, POSITIONS, FILTERS,
        )  # fmt: skip
    return y


def input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool
) -> Tensor:
    """sum of g HardTanh(F - X), or of g sign(F - X): (N, I, H, W), float32."""
    outputs, channels, *kernel = weight.shape
    for_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    if for_x.numel():
        # (groups, filters, taps of the window, channels), so that neighbouring channels are neighbours in memory.
        filters = weight.flatten(2).transpose(1, 2).contiguous()
        positions = len(x) * x.shape[2] * x.shape[3]
        grid = (triton.cdiv(positions, POSITIONS), triton.cdiv(channels, FILTERS), groups)
        _input_gradient[grid](
            gradient.contiguous(), x.contiguous(), filters, for_x, positions, channels, outputs // groups,
            *x.shape[2:], *gradient.shape[2:], *stride, *padding, *kernel, clip, POSITIONS, FILTERS,
        )  # fmt: skip
    return for_x


@triton.jit
def _forward(
    x, filters, y, positions, channels, outputs, height, width, y_height, y_width,
    step_down, step_across, pad_down, pad_across, KERNEL_DOWN: tl.constexpr, KERNEL_ACROSS: tl.constexpr,
    POSITIONS: tl.constexpr, FILTERS: tl.constexpr,
):  # fmt: skip
    group, groups = tl.program_id(2), tl.num_programs(2)
    m = tl.program_id(0).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    o = tl.program_id(1) * FILTERS + tl.arange(0, FILTERS)
    n, i, j = m // (y_height * y_width), m // y_width % y_height, m % y_width
    x += (n * groups + group) * channels * height * width
    filters += group * channels * KERNEL_DOWN * KERNEL_ACROSS * outputs + o
    total = tl.zeros((POSITIONS, FILTERS), tl.float32)
    for c in range(channels):
        for a in range(KERNEL_DOWN):
            for b in range(KERNEL_ACROSS):
                h, w = i * step_down + a - pad_down, j * step_across + b - pad_across
                inside = (m < positions) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
                pixel = tl.load(x + (c * height + h) * width + w, inside, 0.0)
                tap = (c * KERNEL_DOWN + a) * KERNEL_ACROSS + b
                number = tl.load(filters + tap * outputs, o < outputs, 0.0)
                total -= tl.abs(pixel[:, None] - number[None, :])
    channel = (n * groups + group)[:, None] * outputs + o[None, :]
    to = y + (channel * y_height + i[:, None]) * y_width + j[:, None]
    tl.store(to, total, (m < positions)[:, None] & (o < outputs)[None, :])


@triton.jit
def _input_gradient(
    gradient, x, filters, for_x, positions, channels, outputs, height, width, y_height, y_width,
    step_down, step_across, pad_down, pad_across, KERNEL_DOWN: tl.constexpr, KERNEL_ACROSS: tl.constexpr,
    CLIP: tl.constexpr, POSITIONS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    group, groups = tl.program_id(2), tl.num_programs(2)
    m = tl.program_id(0).to(tl.int64) * POSITIONS + tl.arange(0, POSITIONS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    n, h, w = m // (height * width), m // width % height, m % width
    place = (((n * groups + group)[:, None] * channels + c[None, :]) * height + h[:, None]) * width + w[:, None]
    inside = (m < positions)[:, None] & (c < channels)[None, :]
    pixels = tl.load(x + place, inside, 0.0)
    gradient += (n * groups + group) * outputs * y_height * y_width
    filters += group * outputs * KERNEL_DOWN * KERNEL_ACROSS * channels + c
    total = tl.zeros((POSITIONS, CHANNELS), tl.float32)
    for o in range(outputs):
        for a in range(KERNEL_DOWN):
            for b in range(KERNEL_ACROSS):
                down, across = h + pad_down - a, w + pad_across - b
                i, j = down // step_down, across // step_across
                seen = (m < positions) & (down >= 0) & (across >= 0) & (i < y_height) & (j < y_width)
                seen = seen & (down % step_down == 0) & (across % step_across == 0)
                g = tl.load(gradient + (o * y_height + i) * y_width + j, seen, 0.0)[:, None]
                tap = (o * KERNEL_DOWN + a) * KERNEL_ACROSS + b
                difference = tl.load(filters + tap * channels, c < channels, 0.0)[None, :] - pixels
                if CLIP:
                    total += g * tl.minimum(tl.maximum(difference, -1.0), 1.0)
                else:
                    total += tl.where(difference > 0, g, tl.where(difference < 0, -g, 0.0))
    tl.store(for_x + place, total, inside)
