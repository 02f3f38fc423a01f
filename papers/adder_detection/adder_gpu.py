"""The adder layer on a GPU, for float32: Triton kernels that hold no windows.

A program holds the sums of some positions for some filters and, for each place of the window, takes a few channels at a
time: X as (DEPTH, positions), F as (DEPTH, filters), and adds up all the |X - F|. The input's gradient is the same with
the roles exchanged: sums of pixels for channels, over a few filters at a time. What is to happen within one thread
stands on the first axes, because Triton hands out the last ones to threads first: a thread so adds its own taps,
without a shuffle, in a fixed order, and a value that it was handed serves several sums. (Tiles that are reshaped,
instead of getting more axes, are handed out otherwise, and the machine code is full of shuffles.)

The sizes are a table and no search (`triton.autotune`): a network's first step then measures nothing, a CUDA graph can
be captured after one step, and two runs add in the same order.

Input and gradient are read where they lie, NCHW or channels last; results are contiguous. Numbers are 64 bits wide
where they point into memory; those of positions, which have to be divided, only from 2^31 positions on.
"""
# mypy: disable-error-code="no-untyped-def,untyped-decorator"

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from papers.adder_detection.adder_common import STEEP, output_size


class Tile(NamedTuple):
    """What a program of 128 threads works on: a thread holds p_held x f_held of the sums, for lanes side by side.

    `depth` is the count of channels (for the gradient: of filters) that it takes at a time.
    """

    depth: int
    p_held: int
    p_lanes: int
    f_held: int
    f_lanes: int

    @property
    def positions(self) -> int:
        """Positions, or pixels."""
        return self.p_held * self.p_lanes

    @property
    def filters(self) -> int:
        """Filters, or channels."""
        return self.f_held * self.f_lanes

    def grid(self, positions: int, filters: int, groups: int) -> tuple[int, int, int]:
        """Programs along each axis."""
        return triton.cdiv(positions, self.positions), triton.cdiv(filters, self.filters), groups


TILES = (Tile(4, 4, 16, 8, 8), Tile(8, 4, 16, 4, 8), Tile(8, 4, 16, 2, 8))  # 64, 32 and 16 filters, 64 positions
ALONE = Tile(8, 4, 128, 1, 1)  # for groups of a few filters, as depthwise ones


@functools.cache
def tile(filters: int, reduced: int, positions: int, groups: int, multiprocessors: int) -> Tile:
    """The widest tile that a group's filters fill, if it leaves two programs to each multiprocessor; else a narrower.

    Args:
        filters: of a group; for the gradient its channels.
        reduced: a group's channels; for the gradient its filters.
        positions: of all images; for the gradient the pixels of one phase.
        groups: times the phases, for the gradient.
        multiprocessors: of the GPU.
    """
    fitting = [one for one in TILES if one.filters <= max(16, triton.next_power_of_2(filters))]
    enough = [one for one in fitting if math.prod(one.grid(positions, filters, groups)) >= 2 * multiprocessors]
    chosen = ALONE if filters < 8 else (enough or fitting[-1:])[0]
    return chosen._replace(depth=min(chosen.depth, triton.next_power_of_2(reduced)))


def forward(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int) -> Tensor:
    """-sum |X - F|: (N, I, H, W) and (O, I / groups, kh, kw) to (N, O, H', W'), float32."""
    outputs, channels, *kernel = len(weight) // groups, *weight.shape[1:]
    height, width = output_size(x, weight, stride, padding)
    y = x.new_empty((len(x), len(weight), height, width))
    if y.numel():
        filters = weight.flatten(1).t().contiguous()  # (taps, filters): neighbouring filters are neighbours in memory
        positions = len(x) * height * width
        sizes = tile(outputs, channels, positions, groups, _multiprocessors(x.device))
        _forward[sizes.grid(positions, outputs, groups)](
            x, filters, y, positions, channels, outputs, *x.shape[2:], height, width,
            *x.stride(), *stride, *padding, *kernel, *sizes,
        )  # fmt: skip
    return y


def input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool
) -> Tensor:
    """sum of g HardTanh(F - X), or of g sign(F - X) as the limit of a steep HardTanh: (N, I, H, W), float32.

    A phase is the pixels whose row and column leave certain remainders modulo the stride. The taps that reach a pixel
    are those of its phase: a program works on pixels of one phase, and meets no other taps.
    """
    outputs, channels, *kernel = len(weight) // groups, *weight.shape[1:]
    for_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    if for_x.numel():
        # (filters, taps of the window, channels): neighbouring channels are neighbours in memory.
        filters = weight.flatten(2).transpose(1, 2).contiguous()
        positions = len(x) * triton.cdiv(x.shape[2], stride[0]) * triton.cdiv(x.shape[3], stride[1])
        shares = groups * stride[0] * stride[1]
        sizes = tile(channels, outputs, positions, shares, _multiprocessors(x.device))
        _input_gradient[sizes.grid(positions, channels, shares)](
            gradient, x, filters, for_x, positions, channels, outputs, *x.shape[2:], *gradient.shape[2:],
            *gradient.stride(), *x.stride(), *stride, *padding, *kernel, 1.0 if clip else STEEP, *sizes,
        )  # fmt: skip
    return for_x


@functools.cache
def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


@triton.jit
def _span(program, HELD: tl.constexpr, LANES: tl.constexpr):
    """The numbers of a program's HELD x LANES positions or filters."""
    return program * (HELD * LANES) + tl.arange(0, HELD)[:, None] * LANES + tl.arange(0, LANES)[None, :]


@triton.jit(do_not_specialize=["positions"])
def _forward(
    x, filters, y, positions, channels, outputs, height, width, y_height, y_width,
    x_image, x_channel, x_row, x_column, step_down, step_across, pad_down, pad_across, kernel_down, kernel_across,
    DEPTH: tl.constexpr, P_HELD: tl.constexpr, P_LANES: tl.constexpr, F_HELD: tl.constexpr, F_LANES: tl.constexpr,
):  # fmt: skip
    group, groups = tl.program_id(2), tl.num_programs(2)
    m = _span(tl.program_id(0).to(positions.dtype), P_HELD, P_LANES)
    o = _span(tl.program_id(1), F_HELD, F_LANES)
    c = tl.arange(0, DEPTH)[:, None, None]
    n, i, j = m // (y_height * y_width), m // y_width % y_height, m % y_width
    top, left = i * step_down - pad_down, j * step_across - pad_across
    places, all_outputs = kernel_down * kernel_across, groups * outputs
    x += n.to(tl.int64) * x_image + (group * channels + c).to(tl.int64) * x_channel
    filters += c * (places * all_outputs) + group * outputs + o
    total = tl.zeros((P_HELD, F_HELD, P_LANES, F_LANES), tl.float32)
    for a in range(kernel_down):
        for b in range(kernel_across):
            h, w = top + a, left + b
            inside = (m < positions) & (h >= 0) & (h < height) & (w >= 0) & (w < width)
            pixels = x + h.to(tl.int64) * x_row + w.to(tl.int64) * x_column
            numbers = filters + (a * kernel_across + b) * all_outputs
            for done in range(0, channels, DEPTH):
                X = tl.load(pixels, inside & (done + c < channels), 0.0)
                F = tl.load(numbers, (o < outputs) & (done + c < channels), 0.0)
                total -= tl.sum(tl.abs(X[:, :, None, :, None] - F[:, None, :, None, :]), axis=0)
                pixels += DEPTH * tl.cast(x_channel, tl.int64)
                numbers += DEPTH * places * all_outputs
    first = ((n.to(tl.int64) * all_outputs + group * outputs) * y_height + i) * y_width + j
    to = y + first[:, None, :, None] + (o * (y_height * y_width))[None, :, None, :]
    tl.store(to, total, (m < positions)[:, None, :, None] & (o < outputs)[None, :, None, :])


@triton.jit(do_not_specialize=["positions"])
def _input_gradient(
    gradient, x, filters, for_x, positions, channels, outputs, height, width, y_height, y_width,
    g_image, g_channel, g_row, g_column, x_image, x_channel, x_row, x_column,
    step_down, step_across, pad_down, pad_across, kernel_down, kernel_across, SLOPE: tl.constexpr,
    DEPTH: tl.constexpr, P_HELD: tl.constexpr, P_LANES: tl.constexpr, C_HELD: tl.constexpr, C_LANES: tl.constexpr,
):  # fmt: skip
    phases = step_down * step_across
    group, phase, groups = tl.program_id(2) // phases, tl.program_id(2) % phases, tl.num_programs(2) // phases
    # The phase's first row and column, as they lie in the padded input.
    down, across = phase // step_across + pad_down, phase % step_across + pad_across
    m = _span(tl.program_id(0).to(positions.dtype), P_HELD, P_LANES)
    c = _span(tl.program_id(1), C_HELD, C_LANES)
    o = tl.arange(0, DEPTH)[:, None, None]
    rows, columns = tl.cdiv(height, step_down), tl.cdiv(width, step_across)
    n, i, j = m // (rows * columns), m // columns % rows, m % columns
    h, w = i * step_down + down - pad_down, j * step_across + across - pad_across
    inside = ((m < positions) & (h < height) & (w < width))[:, None, :, None] & (c < channels)[None, :, None, :]
    pixels = n.to(tl.int64) * x_image + h.to(tl.int64) * x_row + w.to(tl.int64) * x_column
    planes = (group * channels + c).to(tl.int64) * x_channel
    X = tl.load(x + pixels[:, None, :, None] + planes[None, :, None, :], inside, 0.0) * SLOPE
    places = kernel_down * kernel_across
    gradient += n.to(tl.int64) * g_image + (group * outputs + o).to(tl.int64) * g_channel
    filters += (group * outputs + o) * (places * channels) + c
    total = tl.zeros((P_HELD, C_HELD, P_LANES, C_LANES), tl.float32)
    for a in range(down % step_down, kernel_down, step_down):
        for b in range(across % step_across, kernel_across, step_across):
            y_row, y_column = i + (down - a) // step_down, j + (across - b) // step_across  # no remainders
            seen = (m < positions) & (y_row >= 0) & (y_row < y_height) & (y_column >= 0) & (y_column < y_width)
            gradients = gradient + y_row.to(tl.int64) * g_row + y_column.to(tl.int64) * g_column
            numbers = filters + (a * kernel_across + b) * channels
            for done in range(0, outputs, DEPTH):
                G = tl.load(gradients, seen & (done + o < outputs), 0.0)[:, :, None, :, None]
                F = tl.load(numbers, (c < channels) & (done + o < outputs), 0.0)[:, None, :, None, :] * SLOPE
                total += tl.sum(G * tl.clamp(F - X[None, :, :, :, :], -1.0, 1.0), axis=0)
                gradients += DEPTH * tl.cast(g_channel, tl.int64)
                numbers += DEPTH * places * channels
    first = (n.to(tl.int64) * groups * channels * height + h) * width + w
    planes = (group * channels + c) * (height * width)
    tl.store(for_x + first[:, None, :, None] + planes[None, :, None, :], total, inside)
