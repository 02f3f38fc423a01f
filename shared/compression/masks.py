"""Unstructured pruning: which weights of the convolutions stay; linear and normalisation layers keep all of theirs."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from shared.compression.probe import outputs
from shared.errors import PapertrailError, UsageError
from shared.measure import count


def magnitude_masks(
    network: nn.Module, ratio: float, scope: Literal["global", "layer"] = "global"
) -> dict[str, Tensor]:
    """Weights stay whose magnitude is above number int(total * ratio), from 0, of all in ascending order.

    Han et al. 2015 in the form of Liu et al. 2019 (Rethinking the Value of Network Pruning, section 4.3). A weight at
    the threshold goes too, a ratio of 0 keeps everything, and a layer may lose all of its weights.

    Args:
        network: any with convolutions.
        ratio: the share that goes, from 0 to below 1.
        scope: the order is that of all convolutions together, or of each one by itself.

    Returns:
        By the name of each convolution's weight, a bool tensor of the same shape.

    Raises:
        UsageError: the ratio is out of range.
        PapertrailError: the network has no convolution, or a weight is not a finite number.
    """
    if not 0 <= ratio < 1:
        raise UsageError(f"ratio: {ratio} is not from 0 to below 1")
    magnitudes = {name: weight.detach().abs() for name, weight in _weights(network).items()}
    for name, values in magnitudes.items():
        if not bool(values.isfinite().all()):
            raise PapertrailError(f"{name}: a weight is not a finite number; did the training diverge?")
    if ratio == 0:
        return {name: torch.ones_like(values, dtype=torch.bool) for name, values in magnitudes.items()}
    if scope == "layer":
        return {name: values > _at(values.flatten(), ratio) for name, values in magnitudes.items()}
    threshold = _at(torch.cat([values.flatten() for values in magnitudes.values()]), ratio)
    return {name: values > threshold for name, values in magnitudes.items()}


def apply_masks(network: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Zero, in place, the weights that do not stay; PapertrailError for a name or shape that no convolution has."""
    weights = _weights(network)
    for name, mask in masks.items():
        if name not in weights or weights[name].shape != mask.shape:
            raise PapertrailError(f"{name}: no convolution has a weight of that name and shape {tuple(mask.shape)}")
        with torch.no_grad():
            weights[name].masked_fill_(~mask, 0)


def hold_zeros(network: nn.Module) -> None:
    """From now on a convolution weight that is zero gets no gradient, so that every optimiser here leaves it zero."""
    for _, layer in convolutions(network):
        layer.weight.register_hook(functools.partial(_spared, layer.weight))


def live_cost(network: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Parameters and MACs for one image of `shape` (C, H, W) without the convolution weights that are zero.

    On the meta device, where no weight has a value, all count.
    """
    whole = count(network, shape)
    zeros = {name: int((layer.weight == 0).sum()) for name, layer in convolutions(network) if not layer.weight.is_meta}
    weights = {layer.weight: zeros.get(name, 0) for name, layer in convolutions(network)}  # two layers may share one
    saved = 0

    def visit(zeros: int, _layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal saved
        saved += zeros * output[0, 0].numel()  # each weight acts once at each place of the output

    twin = copy.deepcopy(network).to("meta").eval()
    for name, number in zeros.items():
        twin.get_submodule(name).register_forward_hook(functools.partial(visit, number))
    with torch.no_grad():
        outputs(twin, torch.empty(1, *shape, device="meta"))
    return whole.params - sum(weights.values()), whole.macs - saved


def convolutions(network: nn.Module) -> list[tuple[str, Any]]:
    """Every convolution with its name, in the network's order."""
    kinds = nn.Conv1d | nn.Conv2d | nn.Conv3d
    return [(name, layer) for name, layer in network.named_modules() if isinstance(layer, kinds)]


def _spared(weight: Tensor, gradient: Tensor) -> Tensor:
    return gradient * (weight.detach() != 0)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    found = {f"{name}.weight": layer.weight for name, layer in convolutions(network)}
    for name, weight in found.items():
        if not isinstance(weight, nn.Parameter):
            raise PapertrailError(f"{name}: computed from other tensors, so that nothing can be pruned in it")
    if not found:
        raise PapertrailError(f"{type(network).__name__} has no convolution whose weights could be pruned")
    return found


def _at(values: Tensor, ratio: float) -> Tensor:
    return values.sort().values[int(len(values) * ratio)]
