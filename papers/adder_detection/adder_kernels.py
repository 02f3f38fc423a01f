"""The inner loops of the adder layer on a CPU, in Numba; adder_cpu.py says how the arrays are laid out.

For 2 WIDTH neighbouring outputs and BLOCK filters (or for WIDTH inputs and BLOCK channels) a kernel holds the sums in
registers, so that a value that was loaded serves several times. Everything compiled stands in this one file, because
Numba looks at no other when it decides whether what it has kept on disk is still right.
"""
# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator,var-annotated,call-arg"

from __future__ import annotations

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, register_model

WIDTH = 16 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 8  # float32 in one register
BLOCK = 4  # filters, or channels, whose sums a kernel holds at a time
STRETCH = 256  # outputs that a kernel works on before it takes the next filters; a multiple of 2 WIDTH
PASS = 128  # taps that it adds up before it goes on to the next outputs: with more, looking pages up takes longer


class _Lanes(types.Type):
    """Numba's type of WIDTH neighbouring float32, held in a register."""


_LANES, _VECTOR = _Lanes("Lanes"), ir.VectorType(ir.FloatType(), WIDTH)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, type_):
        super().__init__(manager, type_, _VECTOR)


def _vector_pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def _load(_, array, index):
    """array[index : index + WIDTH] of a flat array, unchecked."""

    def build(context, builder, signature, arguments):
        return builder.load(_vector_pointer(context, builder, signature.args[0], *arguments), align=4)

    return _LANES(array, types.intp), build


@intrinsic
def _store(_, array, index, lanes):
    """array[index : index + WIDTH] = lanes, for a flat array, unchecked."""

    def build(context, builder, signature, arguments):
        builder.store(arguments[2], _vector_pointer(context, builder, signature.args[0], *arguments[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _LANES), build


@intrinsic
def _spread(_, array, index):
    """array[index] of a flat array in all lanes, unchecked."""

    def build(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return _in_all_lanes(builder, builder.load(builder.gep(data, [arguments[1]])))

    return _LANES(array, types.intp), build


@intrinsic
def _lanes_of(_, number):
    """The same float32 in all lanes."""
    return _LANES(types.float32), lambda _, builder, __, arguments: _in_all_lanes(builder, arguments[0])


def _in_all_lanes(builder, number):
    index = ir.IntType(32)
    lone = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, index(0))
    return builder.shuffle_vector(lone, lone, ir.Constant(ir.VectorType(index, WIDTH), None))


def _of_two(build):
    @intrinsic
    def operation(_, a, b):
        return _LANES(_LANES, _LANES), lambda _, builder, __, arguments: build(builder, *arguments)

    return operation


_add = _of_two(lambda builder, a, b: builder.fadd(a, b, flags=("contract",)))
_subtract = _of_two(lambda builder, a, b: builder.fsub(a, b, flags=("contract",)))
_multiply = _of_two(lambda builder, a, b: builder.fmul(a, b, flags=("contract",)))
_largest = _of_two(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))
_least = _of_two(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", a, b), a, b))

_compiled = njit(nogil=True, cache=True)


@_compiled
def forward(first, last, filters, filter_sums, sums, buffer, offsets, group_step, cells, y):
    """y = sums of X + sums of F - 2 sums of max(X, F), for the items `first` to `last` of (stretch, block of filters).

    y (N, O, H', W'); sums of X (N, groups, H', W') and of F (O); filters (blocks, taps, BLOCK); each group's channels
    begin `group_step` behind those of the one before; `cells` down and across.
    """
    images, outputs, height, width = y.shape
    groups = sums.shape[1]
    blocks, per_group = len(filters) // groups, outputs // groups
    total = np.empty(BLOCK * STRETCH, np.float32)
    for item in range(first, last):
        stretch, block = divmod(item, len(filters))
        start, stop = stretch * STRETCH, min((stretch + 1) * STRETCH, images * cells[0] * cells[1])
        group = block // blocks
        output = group * per_group + block % blocks * BLOCK
        _add_largest(total, stop - start, buffer, group * group_step + start, offsets, filters[block].ravel())
        for row in range(start // cells[1], (stop - 1) // cells[1] + 1):
            image, i = divmod(row, cells[0])
            begin = row * cells[1]
            low, high = max(0, start - begin), min(width, stop - begin)
            if i >= height or low >= high:
                continue
            window = sums[image, group, i, low:high]
            for k in range(min(BLOCK, (group + 1) * per_group - output)):
                to, filter_sum = y[image, output + k, i, low:high], filter_sums[output + k]
                largest = total[k * STRETCH + begin + low - start : (k + 1) * STRETCH]
                for j in range(high - low):
                    value = window[j] + filter_sum - 2 * largest[j]
                    to[j] = np.float32(0) if value > 0 else value  # rounding aside, it is never above 0


@_compiled
def _add_largest(total, count, buffer, start, offsets, filters):
    """total[k, m] = sum over t of max(buffer[start + offsets[t] + m], filters[t, k]), for the first `count` m."""
    total[:] = 0
    for first in range(0, len(offsets), PASS):
        last = min(first + PASS, len(offsets))
        for m in range(0, count, 2 * WIDTH):
            a0 = a1 = b0 = b1 = c0 = c1 = d0 = d1 = _lanes_of(np.float32(0))
            for t in range(first, last):
                at = start + offsets[t] + m
                x0, x1 = _load(buffer, at), _load(buffer, at + WIDTH)
                f = _spread(filters, BLOCK * t)
                a0, a1 = _add(a0, _largest(x0, f)), _add(a1, _largest(x1, f))
                f = _spread(filters, BLOCK * t + 1)
                b0, b1 = _add(b0, _largest(x0, f)), _add(b1, _largest(x1, f))
                f = _spread(filters, BLOCK * t + 2)
                c0, c1 = _add(c0, _largest(x0, f)), _add(c1, _largest(x1, f))
                f = _spread(filters, BLOCK * t + 3)
                d0, d1 = _add(d0, _largest(x0, f)), _add(d1, _largest(x1, f))
            _add_to(total, m, a0, a1)
            _add_to(total, STRETCH + m, b0, b1)
            _add_to(total, 2 * STRETCH + m, c0, c1)
            _add_to(total, 3 * STRETCH + m, d0, d1)


@_compiled
def input_gradient(first, last, filters, gradient, buffer, offsets, steps, slope, down, across, for_x):
    """The input's gradient for one phase, for the items `first` to `last` of (stretch, block of channels).

    for_x (N, I, H, W); `buffer` from the phase on; `gradient` in cells; filters (blocks, taps, BLOCK); `steps`: in the
    gradient from group to group, in the buffer from channel to channel, and the count of groups; `slope` is HardTanh's,
    and in the filters already; `down` and `across`: the cells, the stride, and the pixel of the first cell.
    """
    images, channels, height, width = for_x.shape
    group_step, plane, groups = steps
    (cells_down, stride_down, shift_down), (cells_across, stride_across, shift_across) = down, across
    blocks, per_group = len(filters) // groups, channels // groups
    total = np.empty(BLOCK * STRETCH, np.float32)
    for item in range(first, last):
        stretch, block = divmod(item, len(filters))
        start, stop = stretch * STRETCH, min((stretch + 1) * STRETCH, images * cells_down * cells_across)
        group = block // blocks
        channel = group * per_group + block % blocks * BLOCK
        used = min(BLOCK, (group + 1) * per_group - channel)
        at = group * group_step + start
        x = channel * plane + start
        xs = (x, x + min(1, used - 1) * plane, x + min(2, used - 1) * plane, x + min(3, used - 1) * plane)
        _add_slopes(total, stop - start, buffer, xs, slope, gradient, at, offsets, filters[block].ravel())
        for row in range(start // cells_across, (stop - 1) // cells_across + 1):
            image, i = divmod(row, cells_down)
            i = i * stride_down + shift_down
            begin = row * cells_across
            low = max(start - begin, -(shift_across // stride_across))
            high = min(stop - begin, (width - 1 - shift_across) // stride_across + 1)
            if not 0 <= i < height or low >= high:
                continue
            for k in range(used):
                to = for_x[image, channel + k, i, low * stride_across + shift_across :]
                slopes = total[k * STRETCH + begin + low - start : (k + 1) * STRETCH]
                for cell in range(high - low):
                    to[cell * stride_across] = slopes[cell]


@_compiled
def _add_slopes(total, count, buffer, xs, slope, gradient, start, offsets, filters):
    """total[k, m] = sum over t of gradient[start + offsets[t] + m] HardTanh(filters[t, k] - slope x[k, m]).

    x[k] begins at buffer[xs[k]].
    """
    low, high, steep = _lanes_of(np.float32(-1)), _lanes_of(np.float32(1)), _lanes_of(np.float32(slope))
    total[:] = 0
    for first in range(0, len(offsets), PASS):
        last = min(first + PASS, len(offsets))
        for m in range(0, count, WIDTH):
            xa, xb = _multiply(_load(buffer, xs[0] + m), steep), _multiply(_load(buffer, xs[1] + m), steep)
            xc, xd = _multiply(_load(buffer, xs[2] + m), steep), _multiply(_load(buffer, xs[3] + m), steep)
            a = b = c = d = _lanes_of(np.float32(0))
            for t in range(first, last):
                g = _load(gradient, start + offsets[t] + m)
                f = _spread(filters, BLOCK * t)
                a = _subtract(a, _multiply(g, _least(_largest(_subtract(xa, f), low), high)))
                f = _spread(filters, BLOCK * t + 1)
                b = _subtract(b, _multiply(g, _least(_largest(_subtract(xb, f), low), high)))
                f = _spread(filters, BLOCK * t + 2)
                c = _subtract(c, _multiply(g, _least(_largest(_subtract(xc, f), low), high)))
                f = _spread(filters, BLOCK * t + 3)
                d = _subtract(d, _multiply(g, _least(_largest(_subtract(xd, f), low), high)))
            _store(total, m, _add(_load(total, m), a))
            _store(total, STRETCH + m, _add(_load(total, STRETCH + m), b))
            _store(total, 2 * STRETCH + m, _add(_load(total, 2 * STRETCH + m), c))
            _store(total, 3 * STRETCH + m, _add(_load(total, 3 * STRETCH + m), d))


@_compiled
def _add_to(total, at, lanes0, lanes1):
    _store(total, at, _add(_load(total, at), lanes0))
    _store(total, at + WIDTH, _add(_load(total, at + WIDTH), lanes1))
