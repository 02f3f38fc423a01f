"""Optimisers and learning-rate schedules, built from the recipe."""

from __future__ import annotations

import fnmatch
import math

import torch
from torch import nn

from shared.errors import PapertrailError
from shared.layers.adaptive import adaptive_gradients
from shared.layers.gates import gated_blocks, proximal_gates
from shared.training.recipe import Optimiser, Schedule

NORMALISATION = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def build_optimiser(model: nn.Module, spec: Optimiser, gate_l1: float | None = None) -> torch.optim.Optimizer:
    """The optimiser over up to three parameter groups: with weight decay, spared from it, and gates (spared, too).

    Before each step adder layers get their adaptive gradients. With `gate_l1` (of SGD only) gates take proximal steps;
    a network without any is a PapertrailError.
    """
    spared = _spared(model, spec.spare)
    gates = [f"{name}.gate" for name in gated_blocks(model)]
    if gate_l1 is not None and not gates:
        raise PapertrailError("recipe.gate_l1: the network has no gates; give its builder `gates: true`")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    decayed = [p for name, p in trained.items() if name not in spared and name not in gates]
    others = [p for name, p in trained.items() if name in spared and name not in gates]
    groups = [{"params": decayed, "weight_decay": spec.weight_decay}, {"params": others, "weight_decay": 0.0}]
    groups += [{"params": [trained[name] for name in gates], "weight_decay": 0.0}]  # the last one, for proximal_gates
    groups = [group for group in groups if group["params"]]
    optimiser: torch.optim.Optimizer
    if spec.name == "sgd":
        optimiser = torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov)
    elif spec.name == "adamw":
        optimiser = torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps)
    else:
        optimiser = torch.optim.RMSprop(groups, lr=spec.lr, momentum=spec.momentum, alpha=spec.alpha, eps=spec.eps)
    adaptive_gradients(optimiser, model)
    if gate_l1 is not None:
        proximal_gates(optimiser, gate_l1)
    return optimiser


def _spared(model: nn.Module, rules: tuple[str, ...]) -> set[str]:
    """The names of the parameters that no weight decay touches."""
    names = [name for name, _ in model.named_parameters()]
    owners = dict(model.named_modules())
    spared: set[str] = set()
    for rule in rules:
        if rule == "norm":
            met = {name for name in names if isinstance(owners[name.rpartition(".")[0]], NORMALISATION)}
        elif rule == "bias":
            met = {name for name in names if name.rpartition(".")[2] == "bias"}
        else:
            met = set(fnmatch.filter(names, rule))
            if not met:
                raise PapertrailError(f"optimiser.spare: `{rule}` meets no parameter; the first is `{names[0]}`")
        spared |= met
    return spared


def learning_rate_factor(spec: Schedule, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """The factor on the base learning rate at optimiser step `step` (from 0) of `total_steps`."""
    warmup = spec.warmup_epochs * steps_per_epoch
    if step < warmup:
        return spec.warmup_from + (1 - spec.warmup_from) * step / warmup
    progress = (step - warmup) / max(total_steps - warmup, 1)
    position = step if spec.unit == "step" else step // steps_per_epoch
    match spec.name:
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        case "linear":
            return max(1 - progress, 0.0)
        case "multistep":
            return spec.gamma ** sum(position >= milestone for milestone in spec.milestones)
        case "step":
            assert spec.every is not None  # the recipe's validator
            return spec.gamma ** (position // spec.every)
    return 1.0
