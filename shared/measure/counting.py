"""Counting what a network holds and does for one image, on the meta device: nothing is computed.

One multiply-add is one MAC. Convolutions and products of matrices and vectors count, whoever calls them: a layer, a
function (also with weights that the image makes), attention, `einsum`; so does a product of elements that is summed
next. Bias, normalisation, activation, pooling, interpolation and scaling do not. An operator that multiplies and has no
rule (shared/measure/operators.py) is refused by its name.

The network is counted in evaluation mode, for one image. Each parameter counts once, however often it is used, and so
does each of those that a parametrisation makes a weight of; buffers do not.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from shared.errors import PapertrailError, UsageError
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
            it and the layer that calls it. A module of TorchScript, too.
        UsageError: the network cannot see such an image; the message names the layer that fails.
    """
    twin = _twin(model)
    dtype = next((parameter.dtype for parameter in twin.parameters() if parameter.dtype.is_floating_point), None)
    operators = Operators(twin)
    try:
        with torch.no_grad(), torch.device("meta"), operators:
            twin(torch.empty(1, *shape, dtype=dtype))
    except (PapertrailError, ImportError):
        raise
    except Exception as error:  # whatever the code of a network raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if isinstance(error, NotImplementedError) or re.search("meta|CPU", reason):
            raise PapertrailError(f"{operators.where} cannot be counted: {reason}") from error
        size = ",".join(map(str, shape))
        raise UsageError(f"an image of {size} does not pass {operators.where}: {reason}") from error
    return Count(
        params=sum(parameter.numel() for parameter in twin.parameters()),
        macs=operators.macs,
        adder_taps=operators.adder_taps,
        activations=operators.activations,
    )


def _twin(model: nn.Module) -> nn.Module:
    """A copy whose tensors are all on the meta device, those too that are neither parameter nor buffer."""
    for name, layer in model.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):
            where = name or "the network"
            raise PapertrailError(f"{where} is TorchScript, which cannot be counted; count the module it was made from")
    tensors = [
        tensor
        for layer in model.modules()
        for owned in (layer.parameters(recurse=False), layer.buffers(recurse=False), vars(layer).values())
        for tensor in owned
        if isinstance(tensor, Tensor)
    ]
    return copy.deepcopy(model, {id(tensor): _on_meta(tensor) for tensor in tensors}).eval()


def _on_meta(tensor: Tensor) -> Tensor:
    if is_lazy(tensor):
        lazy: Any = type(tensor)
        return lazy(device="meta")  # its layer gives it a shape when it sees the image
    bare = tensor.detach().to("meta")
    return nn.Parameter(bare, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else bare
