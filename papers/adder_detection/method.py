"""The learning rate of adder layers (Chen et al., AdderNet, CVPR 2020, equations 12 and 13)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import nn

from papers.adder_detection.adder import Adder2d
from shared.training.method import Method


class AdaptiveLearningRate(Method):
    """In every step the gradient g of an adder layer's weight with k elements becomes eta sqrt(k) g / |g|.

    A gradient of zero stays zero. Weight decay and momentum, if any, come after it. The step is the right place under
    data parallelism, because there g is the mean over all processes: scaled on each device before the reduction, as the
    official code does, the parts would lose their relative lengths. In a network without adder layers nothing happens.

    Attributes:
        eta: the paper's learning-rate factor; 0.2 in the official code.
    """

    capturable: ClassVar[bool] = True

    name: Literal["adder"] = "adder"
    eta: float = 0.2

    def before_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Scale the gradients of the adder layers."""
        for layer in network.modules():
            if isinstance(layer, Adder2d) and (gradient := layer.weight.grad) is not None:
                length = torch.linalg.vector_norm(gradient).clamp_min(1e-12)
                gradient.mul_(self.eta * math.sqrt(gradient.numel()) / length)
