"""Counting what a network holds and does for one image, on the meta device: nothing is computed.

One multiply-add is one MAC. Convolutions and products of matrices and vectors count, whoever calls them: a layer, a
function (also with weights that the image makes), attention, `einsum`; so does a product of elements that is summed
next. Bias, normalisation, activation, pooling, interpolation and scaling do not. An operator that multiplies and has no
rule (shared/measure/operators.py) is refused by its name.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from shared.errors import PapertrailError
from shared.measure.operators import Operators

PICOJOULES_ADDITION, PICOJOULES_MULTIPLICATION = Fraction("0.9"), Fraction("3.7")


@dataclass(frozen=True)
class Count:
    """Whole numbers for one image.

    Attributes:
        params: trainable and frozen parameters.
        macs: multiply-adds.
        adder_taps: subtract-and-accumulate steps of adder layers, each of which is two additions and no multiplication.
        activations: output elements of the layers and operators that were counted, of attention's products too (the
            convention of Dollar et al. 2021, with the operators of fvcore's counter).
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

    A layer that adds where others multiply states so by a method `adder_taps(output: Tensor) -> int`; the operators
    that its forward calls are then not counted.

    Raises:
        PapertrailError: an operator that multiplies and has no rule, or that needs an image's values; the message names
            it and the layer that calls it.
        RuntimeError: the network cannot see such an image.
    """
    twin = copy.deepcopy(model).to("meta").eval()
    operators = Operators(twin)
    try:
        with torch.no_grad(), operators:
            twin(torch.empty(1, *shape, device="meta"))
    except RuntimeError as error:
        if isinstance(error, NotImplementedError) or re.search("meta|CPU", str(error)):
            reason = str(error).strip().splitlines()[0]
            raise PapertrailError(f"{operators.where} cannot be counted: {reason}") from error
        raise
    return Count(
        params=sum(parameter.numel() for parameter in model.parameters()),
        macs=operators.macs,
        adder_taps=operators.adder_taps,
        activations=operators.activations,
    )
