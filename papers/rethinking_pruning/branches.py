"""Sparse structure selection: residual branches go by their gates (Huang and Wang, ECCV 2018, section 3.2)."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shared.compression.choose import per_layer
from shared.errors import PapertrailError


def gated_blocks(network: nn.Module) -> dict[str, Any]:
    """By their names, in the network's order, the layers that have a gate: a parameter `gate` that is one number."""
    layers = network.named_modules()
    return {name: layer for name, layer in layers if isinstance(getattr(layer, "gate", None), nn.Parameter)}


def open_branches(network: nn.Module, ratio: float | None = None) -> dict[str, bool]:
    """For each block with a gate, by name, whether its branch stays.

    Args:
        network: one with gates.
        ratio: the share of the branches that goes, those with the smallest gates; without it, as in the paper, those
            whose gate is exactly 0. Short training leaves gates near 0, which one batch opens again.

    Raises:
        PapertrailError: the network has no gates, or none that is not 0.
    """
    blocks = gated_blocks(network)
    if not blocks:
        raise PapertrailError("prune: `by: gate` needs a network with gates; give its builder `gates: true`")
    gates = torch.stack([block.gate.detach().double().cpu() for block in blocks.values()]).abs()
    keep = gates != 0 if ratio is None else per_layer({"gates": gates}, ratio).keep["gates"]
    stays = dict(zip(blocks, keep.tolist(), strict=True))
    if not any(stays.values()):
        raise PapertrailError("prune: every gate is 0, so no branch would be left; lower recipe.method.penalty")
    return stays


def folded(network: nn.Module, stays: dict[str, bool]) -> nn.Module:
    """A copy whose gates are 1 for the branches that stay, and 0 for the others.

    What a gate was becomes part of the scale and shift of the branch's last norm: the same function.
    """
    twin = copy.deepcopy(network)
    for name, block in gated_blocks(twin).items():
        last = [layer for layer in block.modules() if isinstance(layer, _BatchNorm)][-1]
        with torch.no_grad():
            for parameter in (last.weight, last.bias):
                parameter.mul_(block.gate)
            block.gate.fill_(stays[name])
    return twin


def without_branches(network: nn.Module, stays: dict[str, bool]) -> dict[str, Tensor]:
    """What of the state dict of a network with folded gates is left without them and the branches that do not stay."""
    gone = tuple(f"{name}.gate" if stays[name] else f"{name}." for name in gated_blocks(network))
    return {key: tensor for key, tensor in network.state_dict().items() if not key.startswith(gone)}
