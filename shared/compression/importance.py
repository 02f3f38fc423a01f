"""How much a channel counts: one number for each channel of each prunable layer, larger is more important."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.compression.kinds import CONVOLUTIONS
from shared.compression.probe import duplicate, outputs
from shared.compression.trace import Trace
from shared.errors import PapertrailError
from shared.layers.widths import prunable_norms

Scores = dict[str, Tensor]  # name of a prunable layer: (channels,) float64


def scale(network: nn.Module) -> Scores:
    """|gamma|, the scale of the BatchNorm (Liu et al., Network Slimming, ICCV 2017, section 3.2)."""
    return {name: norm.weight.detach().double().abs().cpu() for name, norm in prunable_norms(network).items()}


def filter_norm(network: nn.Module, shape: tuple[int, int, int], p: Literal[1, 2]) -> Scores:
    """The L1 norm (Li et al., Pruning Filters, ICLR 2017, section 3.1) or L2 norm of the filter before the BatchNorm.

    Args:
        network: one with `prunable` layers.
        shape: (C, H, W) of an image that the network takes; it shows which filter belongs to which norm.
        p: 1 or 2.

    Raises:
        PapertrailError: a prunable layer stands behind no convolution or linear layer, but behind a selection, say.
    """
    layers: dict[str, Any] = dict(network.named_modules())
    filters = {norm: layers[maker].weight.detach().double() for norm, maker in makers(network, shape).items()}
    return {norm: torch.linalg.vector_norm(weight.flatten(1), p, dim=1).cpu() for norm, weight in filters.items()}


def taylor(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Scores:
    """|gamma dL/dgamma|, the first-order change of the loss when the scale becomes 0; the mean over the batches.

    Molchanov et al., Importance Estimation for Neural Network Pruning, CVPR 2019, at the scales alone and with the
    absolute value. L is the mean cross-entropy of a batch, in evaluation mode; the network is left as it was.

    Args:
        network: one with `prunable` layers.
        batches: images (N, C, H, W) as the network takes them, and their classes (N,).

    Raises:
        PapertrailError: there is no batch.
    """
    twin = duplicate(network).requires_grad_(False)
    scales = {name: norm.weight.requires_grad_(True) for name, norm in prunable_norms(twin).items()}
    totals = {name: torch.zeros(weight.shape, dtype=torch.float64) for name, weight in scales.items()}
    number = 0
    for images, classes in batches:
        number += 1
        with torch.enable_grad():
            gradients = torch.autograd.grad(
                functional.cross_entropy(outputs(twin, images)[0], classes), list(scales.values())
            )
        for (name, weight), gradient in zip(scales.items(), gradients, strict=True):
            totals[name] += (weight.detach() * gradient).double().abs().cpu()
    if not number:
        raise PapertrailError("first-order importance needs at least one batch of images")
    return {name: total / number for name, total in totals.items()}


def random(network: nn.Module, seed: int) -> Scores:
    """Uniform in [0, 1), the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(norm.num_features, generator=generator, dtype=torch.float64)
        for name, norm in prunable_norms(network).items()
    }


def makers(network: nn.Module, shape: tuple[int, int, int]) -> dict[str, str]:
    """For each prunable layer the convolution or linear layer whose output it normalises, by name.

    Raises:
        PapertrailError: there is none for a layer, or there are several.
    """
    norms, trace = prunable_norms(network), Trace(network, shape)
    found: dict[str, str] = {}
    for norm in norms:
        before = {trace.calls.get(node, "") for node in trace.read_by(norm)}
        names = [name for name in before if isinstance(trace.layers[name], (*CONVOLUTIONS, nn.Linear))]
        if len(before) != 1 or not names:
            raise PapertrailError(
                f"{norm}: no convolution or linear layer stands right before it; use another importance"
            )
        found[norm] = names[0]
    return found
