"""Random numbers as a pure function of (seed, epoch, sample, draw): no state, so nothing to save or to replay.

A counter is mixed by the finaliser of SplitMix64 (Steele, Lea and Flood 2014, figure 15) in wrapping 64-bit integer
arithmetic, which gives the same bits on every device, in every split into batches and on every rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB

# One stream for each use, so that two uses never share a number.
ORDER, CROP, FLIP, CUTOUT, JITTER, RESIZED_CROP, BATCH, ERASE = range(8)


def _signed(value: int) -> int:
    """The 64-bit two's-complement reading of an unsigned number: torch has no full set of uint64 operations."""
    return value - (1 << 64) if value >> 63 else value


def _mix(value: int) -> int:
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)


def _mix_tensor(value: Tensor) -> Tensor:
    # >> on int64 copies the sign bit: the mask makes it a logical shift.
    value = (value ^ ((value >> 30) & ((1 << 34) - 1))) * _signed(_FIRST)
    value = (value ^ ((value >> 27) & ((1 << 37) - 1))) * _signed(_SECOND)
    return value ^ ((value >> 31) & ((1 << 33) - 1))


def key(seed: int, epoch: int, stream: int = 0) -> int:
    """A 64-bit number for (seed, epoch, stream)."""
    value = 0
    for part in (seed, epoch, stream):
        value = _mix((value + (part + 1) * _STEP) & _MASK)
    return value


def _bits(seed: int, epoch: int, index: Tensor, stream: int) -> Tensor:
    return _mix_tensor(index.to(torch.int64) * _signed(_STEP) + _signed(key(seed, epoch, stream)))


def uniform(seed: int, epoch: int, index: Tensor, draws: int, stream: int = 0) -> Tensor:
    """Uniform numbers in [0, 1).

    Args:
        seed: of the run.
        epoch: counted from 0.
        index: integer sample indices (N,), on any device.
        draws: numbers for each sample.
        stream: separates the uses of one (seed, epoch, sample); see the names of this module.

    Returns:
        float32 (N, draws) on the device of `index`, multiples of 2**-24.
    """
    counter = torch.arange(1, draws + 1, device=index.device, dtype=torch.int64) * _signed(_STEP)
    bits = _mix_tensor(_bits(seed, epoch, index, stream)[:, None] + counter)
    return ((bits >> 40) & ((1 << 24) - 1)).to(torch.float32) * 2.0**-24


def permutation(seed: int, epoch: int, count: int) -> Tensor:
    """The order in which an epoch visits `count` samples: int64 (count,), each index once."""
    return torch.argsort(_bits(seed, epoch, torch.arange(count), ORDER), stable=True)
