"""Networks as after training."""

from __future__ import annotations

import torch
from torch import nn


def with_statistics(module: nn.Module) -> nn.Module:
    """Normalisation with statistics and factors that are not 0 and 1, in evaluation mode."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            for tensor, low, high in (
                (layer.running_mean, -0.3, 0.3), (layer.running_var, 0.5, 1.5),
                (layer.weight.data, 0.5, 1.5), (layer.bias.data, -0.3, 0.3),
            ):  # fmt: skip
                tensor.uniform_(low, high, generator=generator)
    return module.eval()
