"""The layers that channel surgery knows: which of them mix channels, how many there are at each end, what is cut."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shared.errors import PapertrailError
from shared.layers.select import ChannelSelect
from shared.layers.shuffle import ChannelShuffle

End = tuple[str, bool]  # a layer's name, and whether its outputs (or its inputs) are meant
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_known(layer: Any) -> bool:
    """Whether surgery knows what the channels of a layer are."""
    return isinstance(layer, (*CONVOLUTIONS, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, ChannelSelect, ChannelShuffle))


def is_depthwise(layer: Any) -> bool:
    """Whether a layer is a convolution of each channel by itself."""
    return isinstance(layer, CONVOLUTIONS) and layer.groups == layer.in_channels == layer.out_channels > 1


def mixes(layer: Any) -> bool:
    """Whether a layer has outputs of its own, which are not one by one its input channels."""
    return isinstance(layer, (*CONVOLUTIONS, nn.Linear, ChannelSelect)) and not is_depthwise(layer)


def is_norm(layer: Any) -> bool:
    """Whether a layer is a batch normalisation."""
    return isinstance(layer, _BatchNorm)


def has_bias(layer: Any) -> bool:
    """Whether a layer adds a bias."""
    return getattr(layer, "bias", None) is not None


def size(layer: Any, output: bool) -> int:
    """Channels at an end of a layer."""
    if isinstance(layer, CONVOLUTIONS):
        return layer.out_channels if output else layer.in_channels
    if isinstance(layer, nn.Linear):
        return layer.out_features if output else layer.in_features
    if isinstance(layer, ChannelSelect):
        return len(layer.index) if output else layer.channels
    return len(layer.index) if isinstance(layer, ChannelShuffle) else layer.num_features


def by_channel(layer: Any, inputs: Tensor) -> Tensor:
    """(places, channels): the input of a layer, or what depends on it."""
    return inputs.movedim(-1 if isinstance(layer, nn.Linear) else 1, -1).flatten(0, -2)


def resize(name: str, layer: Any, outputs: Tensor | None, inputs: Tensor | None) -> None:
    """Make a layer smaller, in place; `outputs` and `inputs` are the channels that stay at its ends, None for all.

    Raises:
        PapertrailError: its groups would differ in size, or a tensor is no parameter or buffer of its own.
    """
    rows = torch.ones(size(layer, True), dtype=torch.bool) if outputs is None else outputs
    columns = torch.ones(size(layer, False), dtype=torch.bool) if inputs is None else inputs
    own = dict(layer.named_parameters(recurse=False)) | dict(layer.named_buffers(recurse=False))
    for part, tensor in _sliced(name, layer, rows, columns).items():
        if part not in own:
            raise PapertrailError(
                f"{name}.{part}: computed from other tensors, so that it cannot be cut; store it plainly"
            )
        setattr(layer, part, nn.Parameter(tensor) if isinstance(own[part], nn.Parameter) else tensor)
    if is_depthwise(layer):
        layer.groups = int(rows.sum())
    ends = {"out_channels": rows, "out_features": rows, "num_features": rows}
    for attribute, stay in (ends | {"in_channels": columns, "in_features": columns, "channels": columns}).items():
        if hasattr(layer, attribute):
            setattr(layer, attribute, int(stay.sum()))


def _sliced(name: str, layer: Any, rows: Tensor, columns: Tensor) -> dict[str, Tensor]:
    if is_norm(layer):
        parts = {"weight": layer.weight, "bias": layer.bias, "running_mean": layer.running_mean}
        parts["running_var"] = layer.running_var
        return {part: tensor.detach()[rows] for part, tensor in parts.items() if tensor is not None}
    if isinstance(layer, ChannelSelect):
        return {"index": layer.index[rows]}
    if isinstance(layer, ChannelShuffle):  # the old permutation without the dropped channels, counted anew
        return {"index": (columns.cumsum(0) - 1)[layer.index[rows]]}
    if is_depthwise(layer):
        weight = layer.weight.detach()[rows]
    else:
        groups = getattr(layer, "groups", 1)
        each = zip(layer.weight.detach().chunk(groups), rows.chunk(groups), columns.chunk(groups), strict=True)
        blocks = [block[row][:, column] for block, row, column in each]
        if len({block.shape for block in blocks}) > 1:
            raise PapertrailError(f"{name}: its {groups} groups would differ in size; keep as many channels of each")
        weight = torch.cat(blocks)
    return {"weight": weight} | ({"bias": layer.bias.detach()[rows]} if has_bias(layer) else {})
