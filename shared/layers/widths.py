"""The widths of a network as text: the output channels of its prunable layers in order, "49-64-128".

A network that can be pruned names, in an attribute `prunable`, the BatchNorm layers whose channels can go, in the order
of `widths`; its builder takes `widths: str = ""`, where the empty text means the full network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from shared.errors import PapertrailError


def parse_widths(widths: str, full: Sequence[int]) -> list[int]:
    """One number for each of the `full` widths, from text such as "49-64-128"; the full ones when the text is empty.

    Raises:
        ValueError: another count of numbers, no number, or one below 1 or above the full width.
    """
    if not widths:
        return list(full)
    parts = widths.split("-")
    if len(parts) != len(full):
        raise ValueError(f"widths has {len(parts)} numbers, this network has {len(full)} prunable layers")
    for place, (part, most) in enumerate(zip(parts, full, strict=True)):
        if not (part.isascii() and part.isdigit() and 1 <= int(part) <= most):
            raise ValueError(f"number {place + 1} of widths is {part!r}; it is a whole number from 1 to {most}")
    return [int(part) for part in parts]


def prunable_norms(network: nn.Module) -> dict[str, Any]:
    """The BatchNorm layers whose channels can go, by name, in the order of `widths`.

    Raises:
        PapertrailError: the network has no attribute `prunable`, or one that names no BatchNorm layer with a scale.
    """
    names = getattr(network, "prunable", None)
    if not isinstance(names, tuple):
        raise PapertrailError(
            f"{type(network).__name__} has no tuple `prunable` of the BatchNorm layers that can shrink"
        )
    layers = dict(network.named_modules())
    for name in names:
        norm = layers.get(name)
        if not (isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and norm.affine):
            raise PapertrailError(f"{type(network).__name__}.prunable: {name!r} is no BatchNorm layer with a scale")
    return {name: layers[name] for name in names}
