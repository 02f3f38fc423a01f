"""Blocks that two or more papers use."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

# Makes a module from (N, C, H, W) to the same shape, given C: what a network puts at the end of its residual branches.
Attention = Callable[[int], nn.Module]
