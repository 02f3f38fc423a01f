"""The gates of residual branches, apart from the networks that have them: how they are found, and how they are trained.

Sparse structure selection (Huang and Wang, Data-Driven Sparse Structure Selection for Deep Neural Networks, ECCV 2018).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def gated_blocks(network: nn.Module) -> dict[str, Any]:
    """By their names, in the network's order, the layers that have a gate: a parameter `gate` that is one number."""
    layers = network.named_modules()
    return {name: layer for name, layer in layers if isinstance(getattr(layer, "gate", None), nn.Parameter)}


def proximal_gates(optimiser: torch.optim.Optimizer, gamma: float) -> None:
    """Train the last parameter group by the accelerated proximal gradient of section 3.3, as the authors modify it.

    The penalty is gamma times the L1 norm. With the group's learning rate eta and momentum mu, the gradient g and the
    soft threshold S, a step is (all right sides old)

        s = S(gate - eta g, eta gamma),  v' = s - gate + mu v,  gate' = s + mu v'.

    A gate whose gradient stays below gamma comes to be exactly 0. The optimiser's own step passes over the group; v is
    part of the optimiser's state. Under data parallelism g is the mean over all processes, as for any parameter.
    """
    held: list[tuple[nn.Parameter, Tensor]] = []

    def hold() -> None:
        """The optimiser passes over a parameter without a gradient."""
        for gate in optimiser.param_groups[-1]["params"]:
            if gate.grad is not None:
                held.append((gate, gate.grad))
                gate.grad = None

    def before_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        """Hold now; or, where the step is given a closure that makes the gradients (Lightning), after the closure."""
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimiser
        if closure is None:
            hold()
            return None

        def closure_and_hold() -> Any:
            loss = closure()
            hold()
            return loss

        return args[:1], {"closure": closure_and_hold}

    @torch.no_grad()
    def after_step(*_: Any) -> None:
        group = optimiser.param_groups[-1]
        rate, momentum = group["lr"], group["momentum"]
        while held:
            gate, gradient = held.pop()
            state = optimiser.state[gate]
            moved = gate - rate * gradient
            shrunk = moved.sign() * (moved.abs() - rate * gamma).clamp_min(0)
            speed = shrunk - gate + momentum * state.get("momentum_buffer", torch.zeros_like(gate))
            gate.copy_(shrunk + momentum * speed)
            state["momentum_buffer"] = speed
            gate.grad = gradient

    optimiser.register_step_pre_hook(before_step)
    optimiser.register_step_post_hook(after_step)
