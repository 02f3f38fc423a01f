"""The learning rate of adder layers, apart from the layer: whatever trains needs this, and few networks have adders."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def adaptive_gradients(optimiser: torch.optim.Optimizer, model: nn.Module, eta: float = 0.2) -> None:
    """Give each adder layer of `model` (known by its `adder_taps`) the learning rate of CVPR 2020, equations 12 and 13.

    In every step of `optimiser` the gradient g of such a weight with k elements becomes eta sqrt(k) g / |g|; a
    gradient of zero stays zero. Weight decay and momentum, if any, come after it. The step is the right place under
    data parallelism, because there g is the mean over all processes: scaled on each device before the reduction, as the
    official code does, the parts would lose their relative lengths.
    """
    layers: list[Any] = [layer for layer in model.modules() if hasattr(layer, "adder_taps")]

    def scale() -> None:
        for layer in layers:
            gradient = layer.weight.grad
            if gradient is not None:
                length = torch.linalg.vector_norm(gradient).clamp_min(1e-12)
                gradient.mul_(eta * math.sqrt(gradient.numel()) / length)

    def before_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        """Scale now; or, where the step is given a closure that makes the gradients (Lightning), after the closure."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimiser
        if closure is None:
            scale()
            return None

        def closure_and_scale() -> Any:
            loss = closure()
            scale()
            return loss

        return args[:1], {"closure": closure_and_scale}

    if layers:
        optimiser.register_step_pre_hook(before_step)
