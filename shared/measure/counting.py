"""Counting what a network holds and does for one image, on the meta device: nothing is computed.

One multiply-add is one MAC. Convolutions and linear layers count; bias, normalisation, activation and pooling do not.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

PICOJOULES_ADDITION, PICOJOULES_MULTIPLICATION = Fraction("0.9"), Fraction("3.7")


@dataclass(frozen=True)
class Count:
    """Whole numbers for one image.

    Attributes:
        params: trainable and frozen parameters.
        macs: multiply-adds of the layers that multiply.
        adder_taps: subtract-and-accumulate steps of adder layers, each of which is two additions and no multiplication.
        activations: output elements of the layers that were counted (the convention of Dollar et al. 2021).
    """

    params: int
    macs: int
    adder_taps: int
    activations: int

    @property
    def multiplications(self) -> int:
        """One for each MAC."""
        return self.macs

    @property
    def additions(self) -> int:
        """One for each MAC, two for each adder tap."""
        return self.macs + 2 * self.adder_taps

    @property
    def energy_mj(self) -> Fraction:
        """Millijoules of 32-bit arithmetic alone, memory left out: 0.9 pJ an addition and 3.7 pJ a multiplication.

        45 nm, as Horowitz (ISSCC 2014) gives them.
        """
        return (PICOJOULES_ADDITION * self.additions + PICOJOULES_MULTIPLICATION * self.multiplications) / 10**9


def count(model: nn.Module, shape: tuple[int, int, int]) -> Count:
    """Count a network for one image of `shape` (C, H, W); the network itself is left as it was.

    A layer that adds where others multiply states so by a method `adder_taps(output: Tensor) -> int`.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    totals = {"macs": 0, "adder_taps": 0, "activations": 0}

    def visit(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if hasattr(layer, "adder_taps"):
            totals["adder_taps"] += layer.adder_taps(output)
        elif isinstance(layer, nn.Linear):
            totals["macs"] += output.numel() * layer.in_features
        elif isinstance(layer, _ConvTransposeNd):  # each input element meets each tap, whatever the stride
            totals["macs"] += inputs[0].numel() * layer.weight[0].numel()
        else:
            totals["macs"] += output.numel() * layer.weight[0].numel()
        totals["activations"] += output.numel()

    for layer in twin.modules():
        if _multiplies(layer) or hasattr(layer, "adder_taps"):
            layer.register_forward_hook(visit)
    with torch.no_grad():
        twin(torch.empty(1, *shape, device="meta"))
    return Count(params=sum(parameter.numel() for parameter in model.parameters()), **totals)


def _multiplies(layer: Any) -> bool:
    """A linear layer or a convolution, also one of another library: what has a kernel size and weights."""
    return isinstance(layer, nn.Linear) or (hasattr(layer, "kernel_size") and hasattr(layer, "weight"))
