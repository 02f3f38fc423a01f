"""Squeeze-and-excitation (Hu et al. 2018, figure 3), with the gates that efficient networks put at its end."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Gate = Callable[[Tensor], Tensor]


def hard_sigmoid(x: Tensor) -> Tensor:
    """relu6(x + 3) / 6 (MobileNetV3, section 5.2)."""
    return functional.hardsigmoid(x)


def clip(x: Tensor) -> Tensor:
    """Cut to 0..1, with neither the shift nor the slope of a hard sigmoid."""
    return torch.clamp(x, 0, 1)


class SqueezeExcite(nn.Module):
    """Scale each channel of (N, C, H, W) by a gate computed from the channels' means.

    Args:
        channels: C.
        reduced: channels between the two 1x1 convolutions.
        gate: maps to 0..1.
    """

    def __init__(self, channels: int, reduced: int, gate: Gate = hard_sigmoid) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.expand = nn.Conv2d(reduced, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        means = x.mean((2, 3), keepdim=True)
        return x * self.gate(self.expand(functional.relu(self.reduce(means))))
