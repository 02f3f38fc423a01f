"""Sparse storage: a tensor that is mostly zeros as its other values and one bit per place, exact to the bit.

A state dictionary is mapped to one that safetensors stores smaller, and back. Only tensors with two dimensions or more
are packed, which are the weights that an unstructured mask leaves: a state without such a tensor stays as it is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shared.errors import PapertrailError

MARK = "|"  # no attribute of a module has it in its name, so a packed name meets no other
VALUES, PLACES, SHAPE = f"{MARK}values", f"{MARK}places", f"{MARK}shape"
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, with three in the place of each float tensor of two dimensions or more that is mostly zeros.

    `NAME|values` has the values in row-major order, `NAME|places` one bit for each place, the highest bit of a byte
    first, `NAME|shape` the shape. Zero here is the positive zero: -0.0 is kept as a value.

    Raises:
        PapertrailError: a name has the mark "|".
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if MARK in name:
            raise PapertrailError(f"`{name}`: the name of a tensor cannot have {MARK!r}; rename the layer")
        taken = _taken(tensor) if tensor.is_floating_point() and tensor.ndim > 1 else None
        if taken is None or 2 * int(taken.sum()) >= len(taken):
            packed[name] = tensor
        else:
            packed[name + VALUES] = _flat(tensor)[taken]
            packed[name + PLACES] = torch.from_numpy(np.packbits(taken.numpy()))
            packed[name + SHAPE] = torch.tensor(tensor.shape)
    return packed


def unpack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` was given: equal bits, types and shapes.

    Raises:
        PapertrailError: a part of a packed tensor is missing, or its parts do not fit each other.
    """
    unpacked: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name, mark, part = key.rpartition(MARK)
        if not mark:
            unpacked[key] = tensor
        elif mark + part == VALUES:
            unpacked[name] = _dense(name, state)
        elif mark + part not in (PLACES, SHAPE) or name + VALUES not in state:
            raise PapertrailError(f"`{key}`: no part of a packed tensor, or one without `{name}{VALUES}`")
    return unpacked


def _dense(name: str, state: dict[str, Tensor]) -> Tensor:
    values, places, shape = (state.get(name + part) for part in (VALUES, PLACES, SHAPE))
    if values is None or places is None or shape is None:
        raise PapertrailError(f"`{name}`: a packed tensor needs `{name}{PLACES}` and `{name}{SHAPE}` too")
    misfit = PapertrailError(f"`{name}`: the packed tensor's values, places and shape do not fit each other")
    size = int(shape.prod())
    if (places.dtype, shape.dtype) != (torch.uint8, torch.int64) or bool((shape < 0).any()):
        raise misfit
    taken = torch.from_numpy(np.unpackbits(places.numpy())).bool()
    if len(taken) != -(-size // 8) * 8 or int(taken.sum()) != len(values) or bool(taken[size:].any()):
        raise misfit
    flat = torch.zeros(size, dtype=values.dtype)
    bits = _BITS[values.element_size()]  # not every float type can be indexed as itself
    flat.view(bits)[taken[:size]] = values.view(bits)
    return flat.reshape(tuple(shape.tolist()))


def _flat(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous().reshape(-1)


def _taken(tensor: Tensor) -> Tensor:
    """Which places, in row-major order, hold any bit: (numel,) bool."""
    return _flat(tensor).view(_BITS[tensor.element_size()]) != 0
