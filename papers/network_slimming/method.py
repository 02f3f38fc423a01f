"""Sparsity on the scales of batch normalisation (Network Slimming, section 3.2, equation 1)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shared.errors import PapertrailError
from shared.training.method import Method
from shared.training.recipe import NonNegative

SMALL_SCALE = 0.01


class Slimming(Method):
    """Adds `penalty` times the L1 norm of every scale to the loss, and tells the percentage of small scales.

    A `penalty` of 0 trains plainly and tells the same metric. The derivative of |x| is taken as 0 at 0: the
    sub-gradient of the paper.
    """

    capturable: ClassVar[bool] = True

    name: Literal["slimming"]
    penalty: NonNegative

    def attach(self, network: nn.Module) -> None:
        """PapertrailError when there is no scale."""
        scales(network)

    def loss(self, network: nn.Module) -> Tensor | None:
        """The term of equation 1."""
        return self.penalty * scales(network).abs().sum() if self.penalty else None

    def metrics(self, network: nn.Module) -> dict[str, float]:
        """The percentage of scales under a hundredth."""
        return {"small_scales": round(100 * float((scales(network).abs() < SMALL_SCALE).float().mean()), 4)}


def scales(network: nn.Module) -> Tensor:
    """The scales of every batch normalisation, one after the other; PapertrailError when there are none."""
    found: list[Tensor] = [
        module.weight for module in network.modules() if isinstance(module, _BatchNorm) and module.affine
    ]
    if not found:
        raise PapertrailError("recipe.method: `slimming` needs batch normalisation with scales, the network has none")
    return torch.cat(found)
