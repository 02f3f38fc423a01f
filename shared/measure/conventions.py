"""How papers' tools count: rules of counting programs, written anew so that a printed number can be compared at all.

Both tools hook layers by their type, and neither sees what a network computes without a layer.

- "thop": thop 0.0.22 and 0.0.23 of June and July 2019. A multiply-add of a convolution is one operation, of a linear
  layer two; normalisation is four an element, ReLU and ReLU6 one. Of a layer that is used several times only the last
  use is kept.
- "mmdetection": the counter of MMDetection 1 and 2 (mmdet/utils/flops_counter.py, from flops-counter.pytorch). A
  multiply-add is one operation, a bias one an output, normalisation two an element, ReLU one, pooling one for each
  element of its input. A transposed convolution is counted as if its outputs were those of an ordinary one. Parameters
  are the trainable ones.
- "mmcv": the counter that moved to MMCV 1 (mmcv/cnn/utils/flops_counter.py), which MMDetection and MMSegmentation use
  since. It counts as the former, and a transposed convolution's multiply-adds as they are. Of normalisations we let it
  see those over a batch alone, since the networks that are counted so bring their own class of the others.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Tool = Literal["thop", "mmdetection", "mmcv"]

ACTIVATIONS = (nn.ReLU, nn.ReLU6)


def operations(network: nn.Module, shape: tuple[int, int, int], tool: Tool) -> int:
    """What the tool calls the FLOPs of a network for one image of `shape` (C, H, W); the network is left as it was."""
    rule = {"thop": _thop, "mmdetection": _mmdetection, "mmcv": _mmcv}[tool]
    twin = copy.deepcopy(network).to("meta").eval()
    counted: dict[Any, int] = {}
    owners = _owners(twin) if tool == "thop" else {}

    def visit(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found = rule(layer, inputs[0], output)
        if tool == "thop":
            counted[owners.get(layer, layer)] = found
        else:
            counted[layer] = counted.get(layer, 0) + found

    for layer in twin.modules():
        if next(layer.children(), None) is None:
            layer.register_forward_hook(visit)
    with torch.no_grad():
        twin(torch.empty(1, *shape, device="meta"))
    return sum(counted.values())


def parameters(network: nn.Module, tool: Tool) -> int:
    """What the tool calls the parameters of a network."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad or tool == "thop")


def _thop(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(layer, _ConvNd):
        return y.numel() * (layer.weight[0, 0].numel() + (layer.bias is not None)) * layer.weight.shape[1]
    if isinstance(layer, nn.Linear):
        return y.numel() * (2 * layer.in_features - 1)
    if isinstance(layer, _BatchNorm):
        return 4 * x.numel()
    if isinstance(layer, ACTIVATIONS):
        return x.numel()
    if isinstance(layer, nn.MaxPool2d):
        window = layer.kernel_size  # of a number the tool takes one side, of a pair the area
        return y.numel() * (window if isinstance(window, int) else math.prod(window))
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        area = math.prod(before // after for before, after in zip(x.shape[2:], y.shape[2:], strict=True))
        return y.numel() * (area + 1)
    return 0


def _mmdetection(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(layer, _ConvNd):
        taps = math.prod(layer.kernel_size) * layer.in_channels // layer.groups
        return y.numel() * (taps + (layer.bias is not None))
    if isinstance(layer, nn.Linear):
        return y.numel() * layer.in_features
    if isinstance(layer, _BatchNorm):
        return x.numel() * (2 if layer.affine else 1)
    if isinstance(layer, ACTIVATIONS):
        return y.numel()
    if isinstance(layer, nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        return x.numel()
    return 0


def _mmcv(layer: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(layer, _ConvTransposeNd):
        return x.numel() * layer.weight[0].numel() + y.numel() * (layer.bias is not None)
    return _mmdetection(layer, x, y)


def _owners(network: nn.Module) -> dict[nn.Module, nn.Module]:
    """For each ReLU of a residual block the one that stands after its addition: the block's own, outside its sequences.

    The blocks of those days hold this one ReLU and use it for all of their activations.
    """
    owners: dict[nn.Module, nn.Module] = {}
    for block in network.modules():
        if isinstance(block, nn.Sequential):
            continue
        own = [child for child in block.children() if type(child) is nn.ReLU]
        if own:
            owners |= {layer: own[0] for layer in _in_sequences(block) if type(layer) is nn.ReLU}
    return owners


def _in_sequences(block: nn.Module) -> Iterator[nn.Module]:
    """What a block holds, directly or in sequences."""
    for child in block.children():
        yield child
        if isinstance(child, nn.Sequential):
            yield from _in_sequences(child)
