"""The adder layer on a CPU, for float32: Numba kernels that hold no windows.

The input is copied once into one flat buffer of float32, ordered [a, b, channel, image, row, column]. The phases a and b
are the remainders of a padded pixel's place modulo the stride, so that neighbouring outputs read neighbouring cells:
tap t of output m is buffer[offset[t] + m], where m = (image * rows + row) * columns + column. A kernel therefore runs
over long stretches of m, whatever the image's size, the stride and the filter's shape, and drops those m that are no
output. Zero padding stands only before each row and each image; the zeros of the next one close it.

For 2 WIDTH neighbouring m and BLOCK filters a kernel holds the sums in registers, so that a value that was loaded serves
several times. A sum belongs to one thread and has a fixed order: the result does not depend on the count of threads.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import llvmlite.binding
import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model
from torch import Tensor
from torch.nn import functional

WIDTH = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8  # float32 in one register
BLOCK = 4  # filters whose sums a kernel holds at a time
STRETCH = 256  # outputs m that a kernel works on before it takes the next filters; a multiple of 2 WIDTH
PASS = 128  # taps that a kernel adds up before it goes on to the next outputs: more pages make address look-ups slow
WORTH_A_THREAD = 2**20  # taps
STEEP = 2.0**64  # HardTanh(STEEP d) is sign(d) for every d that is 0 or at least 1 / STEEP


@dataclass(frozen=True)
class Axis:
    """Rows or columns: where pixels lie in the buffer's cells, for each phase."""

    size: int
    kernel: int
    stride: int
    padding: int

    @property
    def outputs(self) -> int:
        """Positions of the filter."""
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def phases(self) -> int:
        """Phases that a tap reads."""
        return min(self.stride, self.kernel)

    @property
    def reach(self) -> int:
        """Cells from a window's first tap to its last."""
        return (self.kernel - 1) // self.stride

    @property
    def cells(self) -> int:
        """The pixels and the padding before them; of that behind them what the next row's does not serve for."""
        pixels = -(-(self.padding + self.size) // self.stride)
        return max(pixels, self.outputs + max(0, self.reach - self.padding // self.stride))

    @property
    def beyond(self) -> int:
        """Cells that the last window reads behind the last row."""
        return max(0, self.outputs + self.reach - self.cells)

    def places(self, phase: int) -> tuple[slice, slice]:
        """The cells that hold a phase's pixels, and these pixels."""
        first = max(0, -(-(self.padding - phase) // self.stride))
        pixel = first * self.stride + phase - self.padding
        count = len(range(pixel, self.size, self.stride))
        return slice(first, first + count), slice(pixel, None, self.stride)

    def taps(self, phase: int) -> int:
        """Taps in a phase."""
        return len(range(phase, self.kernel, self.stride))


def forward(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int) -> Tensor:
    """-sum |X - F|, by |X - F| = 2 max(X, F) - X - F: the sums of X and F alone cost next to nothing.

    (N, I, H, W) and (O, I / groups, kh, kw) to (N, O, H', W'), float32. The rounding error is that of sums of |X| + |F|,
    which is more than that of the result where the two all but agree.
    """
    rows, columns = _axes(x, weight, stride, padding)
    images, outputs, channels = len(x), len(weight), weight.shape[1]
    y = x.new_empty((images, outputs, rows.outputs, columns.outputs))
    if not y.numel():
        return y
    plane = images * rows.cells * columns.cells
    i, j = np.divmod(np.arange(rows.kernel), rows.stride), np.divmod(np.arange(columns.kernel), columns.stride)
    phase = (i[1][:, None] * columns.phases + j[1]) * x.shape[1]
    cell = i[0][:, None] * columns.cells + j[0]
    offset = (phase + np.arange(channels)[:, None, None]) * plane + cell

    ones = x.new_ones((groups, 1, rows.kernel, columns.kernel))
    sums = functional.conv2d(x.unflatten(1, (groups, channels)).sum(2), ones, None, stride, padding, 1, groups)
    filters = _blocks(weight.flatten(1), groups)
    _share_out(
        _forward,
        -(-plane // STRETCH) * len(filters),
        y.numel() * channels * rows.kernel * columns.kernel,
        y.numpy(),
        _buffer(x, rows, columns).numpy(),
        offset.ravel(),
        channels * plane,
        filters.numpy(),
        sums.numpy(),
        weight.detach().sum((1, 2, 3)).numpy(),
        rows.cells,
        columns.cells,
    )
    return y


def input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool
) -> Tensor:
    """sum of g HardTanh(F - X), or of g sign(F - X) as the limit of a steep HardTanh: (N, I, H, W), float32."""
    rows, columns = _axes(x, weight, stride, padding)
    images, outputs = len(x), len(weight) // groups
    for_x = torch.zeros_like(x, memory_format=torch.contiguous_format)
    if not gradient.numel():
        return for_x
    plane = images * rows.cells * columns.cells
    slope = 1.0 if clip else STEEP
    buffer = _buffer(x, rows, columns).mul_(slope)

    # The gradient in the buffer's cells, with zeros where a cell is no output, and before the first.
    lead = rows.reach * columns.cells + columns.reach
    spread = gradient.new_zeros(lead + len(weight) * plane + STRETCH)
    cells = spread[lead:-STRETCH].view(len(weight), images, rows.cells, columns.cells)
    cells[:, :, : rows.outputs, : columns.outputs] = gradient.transpose(0, 1)

    for a in range(rows.phases):
        for b in range(columns.phases):
            back = np.arange(rows.taps(a))[:, None] * columns.cells + np.arange(columns.taps(b))
            offset = lead + np.arange(outputs)[:, None, None] * plane - back
            filters = weight.detach()[:, :, a :: rows.stride, b :: columns.stride]
            by_channel = filters.unflatten(0, (groups, outputs)).transpose(1, 2).flatten(0, 1).flatten(1)
            by_channel = _blocks(by_channel, groups) * slope
            _share_out(
                _input_gradient,
                -(-plane // STRETCH) * len(by_channel),
                plane * by_channel.numel(),
                for_x.numpy(),
                buffer[(a * columns.phases + b) * x.shape[1] * plane :].numpy(),
                spread.numpy(),
                offset.ravel(),
                outputs * plane,
                by_channel.numpy(),
                (rows.cells, rows.stride, a - rows.padding),
                (columns.cells, columns.stride, b - columns.padding),
                groups,
            )
    return for_x


def _axes(x: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> tuple[Axis, Axis]:
    rows, columns = (Axis(x.shape[k + 2], weight.shape[k + 2], stride[k], padding[k]) for k in (0, 1))
    return rows, columns


def _buffer(x: Tensor, rows: Axis, columns: Axis) -> Tensor:
    """The input in cells: [a, b, channel, image, row, column], flat, with zeros for padding."""
    shape = (rows.phases, columns.phases, x.shape[1], len(x), rows.cells, columns.cells)
    cells = int(np.prod(shape))
    buffer = x.new_zeros(cells + rows.beyond * columns.cells + columns.beyond + STRETCH)
    view = buffer[:cells].view(shape)
    for a in range(rows.phases):
        for b in range(columns.phases):
            (to_row, row), (to_column, column) = rows.places(a), columns.places(b)
            view[a, b, :, :, to_row, to_column] = x.detach().transpose(0, 1)[:, :, row, column]
    return buffer


def _blocks(filters: Tensor, groups: int) -> Tensor:
    """(groups * k, taps) to (groups * blocks, taps, BLOCK), with zeros for the filters that the last block lacks."""
    grouped = filters.detach().unflatten(0, (groups, -1))
    padded = functional.pad(grouped, (0, 0, 0, -grouped.shape[1] % BLOCK))
    return padded.flatten(0, 1).unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()


def _share_out(kernel: Callable[..., None], items: int, taps: int, *arguments: Any) -> None:
    """Call kernel(first, last, *arguments) for all `items`, on as many threads as PyTorch computes with."""
    parts = max(1, min(torch.get_num_threads(), items, taps // WORTH_A_THREAD))
    bounds = [items * part // parts for part in range(parts + 1)]
    others = [
        _pool(os.getpid()).submit(kernel, first, last, *arguments)
        for first, last in zip(bounds[1:], bounds[2:], strict=False)
    ]
    kernel(bounds[0], bounds[1], *arguments)
    for other in others:
        other.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Plain threads, of which a forked process gets its own: OpenMP's would abort there, and spin beside PyTorch's."""
    return ThreadPoolExecutor(os.cpu_count())


class _Lanes(types.Type):
    """Numba's type of WIDTH neighbouring float32, held in a register."""


_LANES, _VECTOR = _Lanes("Lanes"), ir.VectorType(ir.FloatType(), WIDTH)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, type_):  # type: ignore[no-untyped-def]
        super().__init__(manager, type_, _VECTOR)


def _vector_pointer(context, builder, array_type, array, index):  # type: ignore[no-untyped-def]
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def _load(_, array, index):  # type: ignore[no-untyped-def]
    """array[index : index + WIDTH] of a flat array, unchecked."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load(_vector_pointer(context, builder, signature.args[0], *arguments), align=4)

    return _LANES(array, types.intp), build


@intrinsic
def _store(_, array, index, lanes):  # type: ignore[no-untyped-def]
    """array[index : index + WIDTH] = lanes, for a flat array, unchecked."""

    def build(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        builder.store(arguments[2], _vector_pointer(context, builder, signature.args[0], *arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _LANES), build


@intrinsic
def _spread(_, number):  # type: ignore[no-untyped-def]
    """The same float32 in all lanes."""

    def build(_, builder, __, arguments):  # type: ignore[no-untyped-def]
        index = ir.IntType(32)
        lone = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), arguments[0], index(0))
        return builder.shuffle_vector(lone, lone, ir.Constant(ir.VectorType(index, WIDTH), None))

    return _LANES(types.float32), build


def _of_two(build):  # type: ignore[no-untyped-def]
    @intrinsic
    def operation(_, a, b):  # type: ignore[no-untyped-def]
        return _LANES(_LANES, _LANES), lambda _, builder, __, arguments: build(builder, *arguments)

    return operation


_add = _of_two(lambda builder, a, b: builder.fadd(a, b, flags=("contract",)))
_subtract = _of_two(lambda builder, a, b: builder.fsub(a, b))
_multiply = _of_two(lambda builder, a, b: builder.fmul(a, b, flags=("contract",)))
_largest = _of_two(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
_least = _of_two(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))

_compiled = njit(nogil=True, cache=True)


@_compiled
def _forward(first, last, y, buffer, offset, group_step, filters, sums, filter_sums, cells_down, cells_across):  # type: ignore[no-untyped-def]
    images, outputs, height, width = y.shape
    groups = sums.shape[1]
    blocks, per_group = len(filters) // groups, outputs // groups
    plane = images * cells_down * cells_across
    total = np.empty(BLOCK * STRETCH, np.float32)
    for item in range(first, last):
        stretch, block = divmod(item, len(filters))
        start, stop = stretch * STRETCH, min((stretch + 1) * STRETCH, plane)
        group = block // blocks
        first_output = group * per_group + block % blocks * BLOCK
        _add_largest(total, stop - start, buffer, group * group_step + start, offset, filters[block].ravel())
        for row in range(start // cells_across, (stop - 1) // cells_across + 1):
            image, i = divmod(row, cells_down)
            if i >= height:
                continue
            begin = row * cells_across
            window = sums[image, group, i]
            for k in range(min(BLOCK, (group + 1) * per_group - first_output)):
                o = first_output + k
                to, filter_sum = y[image, o, i], filter_sums[o]
                here = total[k * STRETCH : (k + 1) * STRETCH]
                for j in range(max(0, start - begin), min(width, stop - begin)):
                    to[j] = window[j] + filter_sum - 2 * here[begin + j - start]


@_compiled
def _add_largest(total, count, buffer, start, offset, filters):  # type: ignore[no-untyped-def]
    """total[k, m] = sum over t of max(buffer[start + offset[t] + m], filters[t, k]), for m from 0 to at least count."""
    total[:] = 0
    for first in range(0, len(offset), PASS):
        last = min(first + PASS, len(offset))
        for m in range(0, count, 2 * WIDTH):
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = _spread(np.float32(0))
            for t in range(first, last):
                at = start + offset[t] + m
                x0, x1 = _load(buffer, at), _load(buffer, at + WIDTH)
                f = _spread(filters[BLOCK * t])
                a0, a1 = _add(a0, _largest(x0, f)), _add(a1, _largest(x1, f))
                f = _spread(filters[BLOCK * t + 1])
                b0, b1 = _add(b0, _largest(x0, f)), _add(b1, _largest(x1, f))
                f = _spread(filters[BLOCK * t + 2])
                c0, c1 = _add(c0, _largest(x0, f)), _add(c1, _largest(x1, f))
                f = _spread(filters[BLOCK * t + 3])
                d0, d1 = _add(d0, _largest(x0, f)), _add(d1, _largest(x1, f))
            _add_to(total, m, a0, a1)
            _add_to(total, STRETCH + m, b0, b1)
            _add_to(total, 2 * STRETCH + m, c0, c1)
            _add_to(total, 3 * STRETCH + m, d0, d1)


@_compiled
def _input_gradient(first, last, for_x, buffer, gradient, offset, group_step, filters, down, across, groups):  # type: ignore[no-untyped-def]
    images, channels, height, width = for_x.shape
    (cells_down, stride_down, shift_down), (cells_across, stride_across, shift_across) = down, across
    blocks, per_group = len(filters) // groups, channels // groups
    plane = images * cells_down * cells_across
    total = np.empty(BLOCK * STRETCH, np.float32)
    for item in range(first, last):
        stretch, block = divmod(item, len(filters))
        start, stop = stretch * STRETCH, min((stretch + 1) * STRETCH, plane)
        group = block // blocks
        channel = group * per_group + block % blocks * BLOCK
        used = min(BLOCK, (group + 1) * per_group - channel)
        step = (used - 1, plane)
        _add_slopes(
            total,
            stop - start,
            buffer,
            channel * plane + start,
            step,
            gradient,
            group * group_step + start,
            offset,
            filters[block].ravel(),
        )
        for row in range(start // cells_across, (stop - 1) // cells_across + 1):
            image, i = divmod(row, cells_down)
            i = i * stride_down + shift_down
            if not 0 <= i < height:
                continue
            begin = row * cells_across
            for k in range(used):
                to = for_x[image, channel + k, i]
                here = total[k * STRETCH : (k + 1) * STRETCH]
                for cell in range(max(0, start - begin), min(cells_across, stop - begin)):
                    j = cell * stride_across + shift_across
                    if 0 <= j < width:
                        to[j] = here[begin + cell - start]


@_compiled
def _add_slopes(total, count, buffer, x_start, step, gradient, start, offset, filters):  # type: ignore[no-untyped-def]
    """total[k, m] = sum over t of gradient[start + offset[t] + m] HardTanh(filters[t, k] - x[k, m]), m as above.

    x[k] begins at buffer[x_start + k * plane], with step = (the last k, plane); further k repeat the last.
    """
    at_b, at_c, at_d = (
        x_start + min(1, step[0]) * step[1],
        x_start + min(2, step[0]) * step[1],
        x_start + min(3, step[0]) * step[1],
    )
    low, high = _spread(np.float32(-1)), _spread(np.float32(1))
    total[:] = 0
    for first in range(0, len(offset), PASS):
        last = min(first + PASS, len(offset))
        for m in range(0, count, WIDTH):
            xa, xb = _load(buffer, x_start + m), _load(buffer, at_b + m)
            xc, xd = _load(buffer, at_c + m), _load(buffer, at_d + m)
            a = b = c = d = _spread(np.float32(0))
            for t in range(first, last):
                g = _load(gradient, start + offset[t] + m)
                f = _spread(filters[BLOCK * t])
                a = _add(a, _multiply(g, _least(_largest(_subtract(f, xa), low), high)))
                f = _spread(filters[BLOCK * t + 1])
                b = _add(b, _multiply(g, _least(_largest(_subtract(f, xb), low), high)))
                f = _spread(filters[BLOCK * t + 2])
                c = _add(c, _multiply(g, _least(_largest(_subtract(f, xc), low), high)))
                f = _spread(filters[BLOCK * t + 3])
                d = _add(d, _multiply(g, _least(_largest(_subtract(f, xd), low), high)))
            _store(total, m, _add(_load(total, m), a))
            _store(total, STRETCH + m, _add(_load(total, STRETCH + m), b))
            _store(total, 2 * STRETCH + m, _add(_load(total, 2 * STRETCH + m), c))
            _store(total, 3 * STRETCH + m, _add(_load(total, 3 * STRETCH + m), d))


@_compiled
def _add_to(total, at, lanes0, lanes1):  # type: ignore[no-untyped-def]
    _store(total, at, _add(_load(total, at), lanes0))
    _store(total, at + WIDTH, _add(_load(total, at + WIDTH), lanes1))
