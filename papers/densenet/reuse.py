"""Figure 5: how much each layer of a dense block makes of what each layer before it has written."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from papers.densenet.model import DenseLayer, DenseNet


def feature_reuse(network: DenseNet, *, relative: bool = False) -> list[Tensor]:
    """For each dense block the mean absolute weights that connect a source (row) with a reader of it (column).

    The first source is what enters the block, the others are its layers; the readers are the layers, by their first
    convolutions, and last the transition or the classifier. Where the reader does not see the source there is NaN.

    Args:
        network: one that cannot be pruned.
        relative: each weight as a multiple of what it was on average before training. Convolutions of other sizes
            start with weights of other sizes, which otherwise is what one sees first.

    Returns:
        Matrices (1 + layers, layers + 1).
    """
    found = []
    readers: list[nn.Conv2d | nn.Linear] = []
    sizes: list[int] = []
    for module in [*network.features, network.classifier]:
        convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        if isinstance(module, DenseLayer):
            readers.append(convolutions[0])
            sizes.append(convolutions[-1].weight.shape[0])
        elif convolutions and readers:
            readers.append(convolutions[0])
            found.append(_matrix(readers, sizes, relative))
            readers, sizes = [], []
    return found


def _matrix(readers: list[nn.Conv2d | nn.Linear], written: list[int], relative: bool) -> Tensor:
    sizes = [readers[0].weight.shape[1], *written]
    matrix = torch.full((len(sizes), len(readers)), math.nan)
    for column, reader in enumerate(readers):
        weight = reader.weight.detach().abs().transpose(0, 1).flatten(1)  # (inputs, outputs and taps)
        means = torch.stack([part.mean() for part in weight.split(sizes[: column + 1])])
        matrix[: column + 1, column] = means / _at_the_start(reader) if relative else means
    return matrix


def _at_the_start(reader: nn.Conv2d | nn.Linear) -> float:
    """The mean absolute weight as `initialise` draws it: of a normal, or of PyTorch's uniform distribution."""
    outputs, inputs = reader.weight.shape[:2]
    if isinstance(reader, nn.Linear):
        return 1 / math.sqrt(inputs) / 2
    deviation = math.sqrt(2 / (outputs * math.prod(reader.kernel_size)))
    return deviation * math.sqrt(2 / math.pi)
