"""The adder layer on a CPU, for float32, without a matrix of windows.

The input is copied, a few images at a time, into one flat buffer in the order [a, b, channel, image, row, column]. The
phases a and b are the remainders of a padded pixel's place modulo the stride, so that neighbouring outputs read
neighbouring cells: tap t of output m is buffer[offsets[t] + m], where m = (image * rows + row) * columns + column. A
kernel therefore runs over long stretches of m, whatever the image's size, the stride and the filter's shape, and drops
those m that are no output. Zero padding stands only before each row and each image; the zeros of the next one close it.

A sum belongs to one thread and has a fixed order: the result does not depend on the count of threads. The threads are
ours, and PyTorch computes with one meanwhile: its OpenMP threads, once woken, spin for milliseconds on the very cores.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from papers.adder_detection import adder_kernels
from papers.adder_detection.adder_common import STEEP
from papers.adder_detection.adder_kernels import BLOCK, STRETCH
from shared.measure.cost import threads

CELLS = 2**18  # float32 that the buffer of a few images may hold: 1 MiB, which stays in a second-level cache
SHARE = 2**22  # taps, about, that a thread takes at a time


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

    def places(self, phase: int) -> tuple[slice, slice]:
        """The cells that hold a phase's pixels, and these pixels."""
        first = max(0, -(-(self.padding - phase) // self.stride))
        pixel = first * self.stride + phase - self.padding
        count = len(range(pixel, self.size, self.stride))
        return slice(first, first + count), slice(pixel, None, self.stride)

    def taps(self, phase: int) -> int:
        """Taps in a phase."""
        return len(range(phase, self.kernel, self.stride))


@dataclass(frozen=True)
class Layout:
    """The buffer's order for so many `images` at a time, and where the taps of a window lie in it.

    Attributes:
        offsets: of the taps (channel, i, j) of a filter from m, in the first group.
        back: for each phase, the cells from a tap (i, j) of the phase to m.
    """

    rows: Axis
    columns: Axis
    channels: int
    images: int
    offsets: Any
    back: dict[tuple[int, int], Any]

    @property
    def plane(self) -> int:
        """Cells of one channel in one phase."""
        return self.images * self.rows.cells * self.columns.cells

    @property
    def lead(self) -> int:
        """Cells from a window's first tap to its last."""
        return self.rows.reach * self.columns.cells + self.columns.reach

    def buffer(self, x: Tensor) -> Tensor:
        """Zeros for the cells, and for what a kernel reads behind them."""
        phases = self.rows.phases * self.columns.phases
        return x.new_zeros(phases * self.channels * self.plane + self.lead + STRETCH)

    def fill(self, buffer: Tensor, x: Tensor) -> None:
        """Put some images into a buffer."""
        shape = (self.rows.phases, self.columns.phases, self.channels, self.images, self.rows.cells, self.columns.cells)
        cells = buffer[: math.prod(shape)].view(shape)
        for a in range(self.rows.phases):
            for b in range(self.columns.phases):
                (to_row, row), (to_column, column) = self.rows.places(a), self.columns.places(b)
                cells[a, b, :, : len(x), to_row, to_column] = x.transpose(0, 1)[:, :, row, column]


@functools.lru_cache(maxsize=256)
def layout(
    shape: tuple[int, int, int, int],
    filters: tuple[int, int, int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Layout:
    """The layout for an input and filters of these shapes: as many images as CELLS allow for input and output."""
    rows, columns = (Axis(*axis) for axis in zip(shape[2:], filters[2:], stride, padding, strict=True))
    channels = max(rows.phases * columns.phases * shape[1], filters[0])
    images = max(1, min(shape[0], CELLS // (channels * rows.cells * columns.cells)))
    plane = images * rows.cells * columns.cells
    i, a = np.divmod(np.arange(rows.kernel)[:, None], rows.stride)
    j, b = np.divmod(np.arange(columns.kernel), columns.stride)
    block = (a * columns.phases + b) * shape[1] + np.arange(filters[1])[:, None, None]
    offsets = (block * plane + i * columns.cells + j).ravel()
    back = {
        (a, b): (np.arange(rows.taps(a))[:, None] * columns.cells + np.arange(columns.taps(b))).ravel()
        for a in range(rows.phases)
        for b in range(columns.phases)
    }
    return Layout(rows, columns, shape[1], images, offsets, back)


def forward(x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int) -> Tensor:
    """-sum |X - F|, by |X - F| = 2 max(X, F) - X - F: the sums of X and F alone cost next to nothing.

    (N, I, H, W) and (O, I / groups, kh, kw) to (N, O, H', W'), float32. The rounding error is one of the sum of
    |X| + |F|, which is more than the result's own where the two all but agree.
    """
    x, weight = x.detach(), weight.detach()
    lay = layout(tuple(x.shape), tuple(weight.shape), tuple(stride), tuple(padding))
    y = x.new_empty((len(x), len(weight), lay.rows.outputs, lay.columns.outputs))
    number = torch.get_num_threads()
    with threads(1):
        ones = x.new_ones((groups, 1, *weight.shape[2:]))
        channel_sums = x.unflatten(1, (groups, -1)).sum(2)
        sums = functional.conv2d(channel_sums, ones, None, stride, padding, 1, groups).contiguous()
        filters, filter_sums = _blocks(weight.flatten(1), groups).numpy(), weight.sum((1, 2, 3)).numpy()
        buffer = lay.buffer(x)
        for first in range(0, len(x), lay.images):
            part = slice(first, first + lay.images)
            lay.fill(buffer, x[part])
            _share_out(
                number,
                adder_kernels.forward,
                lay.plane,
                filters,
                filter_sums,
                sums[part].numpy(),
                buffer.numpy(),
                lay.offsets,
                weight.shape[1] * lay.plane,
                (lay.rows.cells, lay.columns.cells),
                y[part].numpy(),
            )
    return y


def input_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: list[int], padding: list[int], groups: int, clip: bool
) -> Tensor:
    """sum of g HardTanh(F - X), or of g sign(F - X) as the limit of a steep HardTanh: (N, I, H, W), float32."""
    gradient, x, weight = gradient.detach(), x.detach(), weight.detach()
    lay = layout(tuple(x.shape), tuple(weight.shape), tuple(stride), tuple(padding))
    rows, columns, plane = lay.rows, lay.columns, lay.plane
    outputs = len(weight) // groups
    slope = 1.0 if clip else STEEP
    skips = rows.phases < rows.stride or columns.phases < columns.stride  # pixels that no window sees
    for_x = (torch.zeros_like if skips else torch.empty_like)(x, memory_format=torch.contiguous_format)
    number = torch.get_num_threads()
    with threads(1):
        buffer = lay.buffer(x)
        # The gradient in the buffer's cells, with zeros where a cell is no output, and before the first.
        spread = x.new_zeros(lay.lead + len(weight) * plane + STRETCH)
        cells = spread[lay.lead : -STRETCH].view(len(weight), lay.images, rows.cells, columns.cells)
        by_phase = []
        for (a, b), back in lay.back.items():
            offsets = (lay.lead + np.arange(outputs)[:, None] * plane - back).ravel()
            filters = weight[:, :, a :: rows.stride, b :: columns.stride].unflatten(0, (groups, outputs))
            filters = _blocks(filters.transpose(1, 2).flatten(0, 1).flatten(1) * slope, groups).numpy()
            by_phase.append((a, b, offsets, filters))
        for first in range(0, len(x), lay.images):
            part = slice(first, first + lay.images)
            lay.fill(buffer, x[part])
            count = len(gradient[part])
            cells[:, :count, : rows.outputs, : columns.outputs] = gradient[part].transpose(0, 1)
            for a, b, offsets, filters in by_phase:
                _share_out(
                    number,
                    adder_kernels.input_gradient,
                    plane,
                    filters,
                    spread.numpy(),
                    buffer[(a * columns.phases + b) * x.shape[1] * plane :].numpy(),
                    offsets,
                    (outputs * plane, plane, groups),
                    slope,
                    (rows.cells, rows.stride, a - rows.padding),
                    (columns.cells, columns.stride, b - columns.padding),
                    for_x[part].numpy(),
                )
    return for_x


def _blocks(filters: Tensor, groups: int) -> Tensor:
    """(groups * k, taps) to (groups * blocks, taps, BLOCK), with zeros for the filters that the last block lacks."""
    grouped = filters.unflatten(0, (groups, -1))
    padded = functional.pad(grouped, (0, 0, 0, -grouped.shape[1] % BLOCK))
    return padded.flatten(0, 1).unflatten(0, (-1, BLOCK)).transpose(1, 2).contiguous()


def _share_out(number: int, kernel: Callable[..., None], cells: int, filters: Any, *arguments: Any) -> None:
    """Call kernel(first, last, filters, *arguments) for all items on `number` threads at most, share by share.

    Whoever has done a share takes the next: a thread that another process keeps waiting holds nobody up.
    """
    items = -(-cells // STRETCH) * len(filters)
    parts = max(1, min(items, cells * filters.size // SHARE))
    shares = iter(list(itertools.pairwise(items * part // parts for part in range(parts + 1))))

    def work() -> None:
        for first, last in shares:
            kernel(first, last, filters, *arguments)

    others = [_pool(os.getpid()).submit(work) for _ in range(min(number, parts) - 1)]
    work()
    for other in others:
        if not other.cancel():  # one that has not begun finds nothing left
            other.result()


@functools.cache
def _pool(process: int) -> ThreadPoolExecutor:
    """Plain threads, of which a forked process gets its own: OpenMP's would abort there, and spin beside PyTorch's."""
    return ThreadPoolExecutor(os.cpu_count())
