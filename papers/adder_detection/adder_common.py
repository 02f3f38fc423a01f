"""What the forms of the adder layer share: in plain PyTorch (adder.py), on a CPU and on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

STEEP = 2.0**64  # HardTanh(STEEP d) is sign(d) for every d that is 0 or at least 1 / STEEP


def output_size(x: Tensor, weight: Tensor, stride: Sequence[int], padding: Sequence[int]) -> tuple[int, int]:
    """H' and W' for an input (N, I, H, W) and filters (O, I / groups, kh, kw): those of a convolution."""
    height, width = (
        (size + 2 * pad - kernel) // step + 1
        for size, kernel, step, pad in zip(x.shape[2:], weight.shape[2:], stride, padding, strict=True)
    )
    return height, width
