"""Published ConvNeXt weights under our names: those of the official release and those of timm."""

from __future__ import annotations

import re

from torch import Tensor

from shared.weights.names import under_our_names

# Patterns of their names, the official ones first, and ours. The stem's two layers, and what reduces the resolution
# before the other stages, stand in one list there.
RULES = (
    (r"downsample_layers\.0\.(.+)", r"stem.\1"),
    (r"downsample_layers\.(\d+)\.(.+)", r"stages.\1.downsample.\2"),
    (r"stages\.(\d+)\.(\d+)\.(.+)", r"stages.\1.blocks.\2.\3"),
    (r"head\.fc\.(.+)", r"classifier.\1"),
    (r"head\.norm\.(.+)", r"norm.\1"),
    (r"head\.(.+)", r"classifier.\1"),
)
LAYERS = {
    "dwconv": "depthwise",
    "conv_dw": "depthwise",
    "pwconv1": "expand",
    "mlp.fc1": "expand",
    "pwconv2": "project",
    "mlp.fc2": "project",
    "norm": "norm",
}
OURS = re.compile(
    r"(stem(\.[01])?|stages\.\d+\.downsample\.[01]|norm|classifier"
    r"|(stages\.\d+\.)?blocks\.\d+\.(depthwise|norm|expand|project))\.(weight|bias)"
    r"|(stages\.\d+\.)?blocks\.\d+\.gamma"
)


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of `papers.convnext.model.ConvNeXt` from theirs; the isotropic networks' as well.

    Raises:
        PapertrailError: a tensor has a name that neither release has, or the place of another tensor.
    """
    return under_our_names(state, _renamed, "a published ConvNeXt")


def _renamed(name: str) -> str:
    """LookupError: there is no such name."""
    for theirs, ours in RULES:
        if re.fullmatch(theirs, name):
            name = re.fullmatch(theirs, name).expand(ours)  # type: ignore[union-attr]
            break
    block, kind = re.fullmatch(r"(.*blocks\.\d+\.)?(.+)", name).groups("")  # type: ignore[union-attr]
    layer, _, tensor = kind.rpartition(".")
    ours = f"{block}{LAYERS[layer]}.{tensor}" if block and layer in LAYERS else name
    if not OURS.fullmatch(ours):
        raise LookupError(name)
    return ours
