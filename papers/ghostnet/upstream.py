"""Published GhostNet weights under our names: those of timm and of the official PyTorch release, which agree."""

from __future__ import annotations

import re

from torch import Tensor

from shared.weights.names import under_our_names

# Outside the blocks.
WHOLE = {"conv_stem": "stem.0", "bn1": "stem.1", "conv_head": "head.0", "classifier": "classifier.2"}
HALVES = {"primary_conv": "primary", "cheap_operation": "cheap"}
# A shortcut is four layers in a row there and two pairs of convolution and normalisation here.
SHORTCUT = {"0": "0.0", "1": "0.1", "2": "1.0", "3": "1.1"}
SQUEEZE = {"conv_reduce": "reduce", "conv_expand": "expand"}
# The convolution behind the bottlenecks.
LAST = {"conv": "0", "bn1": "1"}
BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of `papers.ghostnet.model.GhostNet`, with the defaults of the PyTorch release, from theirs.

    Raises:
        PapertrailError: a tensor has a name that neither release has, or the place of another tensor.
    """
    parts: dict[tuple[int, int], set[str]] = {}
    for name in state:
        if found := BLOCK.fullmatch(name):
            parts.setdefault((int(found[1]), int(found[2])), set()).add(found[3].split(".")[0])
    # The last of their blocks is the 1x1 convolution behind the bottlenecks.
    numbers = {place: number for number, place in enumerate(sorted(parts))}
    return under_our_names(state, lambda name: _renamed(name, parts, numbers), "a published GhostNet")


def _renamed(name: str, parts: dict[tuple[int, int], set[str]], numbers: dict[tuple[int, int], int]) -> str:
    """LookupError: there is no such name."""
    found = BLOCK.fullmatch(name)
    if found is None:
        layer, _, kind = name.rpartition(".")
        return f"{WHOLE[layer]}.{kind}"
    place, (part, *rest) = (int(found[1]), int(found[2])), found[3].split(".")
    if "ghost1" not in parts[place]:
        return ".".join(["last", LAST[part], *rest])
    strided, excited = "conv_dw" in parts[place], "se" in parts[place]
    block = f"blocks.{numbers[place]}"
    match part:
        case "ghost1":
            return ".".join([block, "body.0", HALVES[rest[0]], *rest[1:]])
        case "conv_dw" | "bn_dw":
            return ".".join([block, "body.1", "0" if part == "conv_dw" else "1", *rest])
        case "se":
            return ".".join([block, f"body.{1 + strided}", SQUEEZE[rest[0]], *rest[1:]])
        case "ghost2":
            return ".".join([block, f"body.{1 + strided + excited}", HALVES[rest[0]], *rest[1:]])
        case "shortcut":
            return ".".join([block, "shortcut", SHORTCUT[rest[0]], *rest[1:]])
    raise LookupError(name)
