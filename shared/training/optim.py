"""Optimisers and learning-rate schedules, built from the recipe."""

from __future__ import annotations

import fnmatch
import math
from typing import Any

import torch
from torch import nn

from shared.errors import PapertrailError, nearest
from shared.training.method import Method, hook_steps
from shared.training.recipe import LayerDecay, Optimiser, Schedule

NORMALISATION = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


def build_optimiser(model: nn.Module, spec: Optimiser, method: Method | None = None) -> torch.optim.Optimizer:
    """The optimiser over parameter groups: with weight decay, spared from it, and those of the method.

    Each group has its base learning rate as `initial_lr`, for schedules; around every step the method's hooks are
    called.
    """
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    spared, scales = _spared(model, spec.spare), _layer_scales(list(trained), spec.layer_decay)
    own = [] if method is None else method.parameter_groups(model)
    taken = {name for names, _ in own for name in names}
    shared: dict[tuple[float, bool], list[nn.Parameter]] = {}  # by (factor on the learning rate, spared from decay)
    for name, parameter in trained.items():
        if name not in taken:
            shared.setdefault((scales[name], name in spared), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": shared[scale, free], "lr": scale * spec.lr, "weight_decay": 0.0 if free else spec.weight_decay}
        for scale, free in sorted(shared, key=lambda key: (-key[0], key[1]))
    ]
    groups += [
        {"weight_decay": spec.weight_decay} | options | {"params": [trained[name] for name in names]}
        for names, options in own
    ]
    optimiser: torch.optim.Optimizer
    if spec.name == "sgd":
        optimiser = torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov)
    elif spec.name == "adamw":
        optimiser = torch.optim.AdamW(groups, lr=spec.lr, betas=spec.betas, eps=spec.eps)
    else:
        optimiser = torch.optim.RMSprop(groups, lr=spec.lr, momentum=spec.momentum, alpha=spec.alpha, eps=spec.eps)
    for group in optimiser.param_groups:
        group["initial_lr"] = group["lr"]
    if method is not None:
        hook_steps(optimiser, lambda: method.before_step(model, optimiser), lambda: method.after_step(model, optimiser))
    return optimiser


def make_capturable(optimiser: torch.optim.Optimizer) -> None:
    """Put what changes from step to step into tensors on the device, where a CUDA graph reads it.

    A schedule of PyTorch fills a learning rate in place that is a tensor.
    """
    for group in optimiser.param_groups:
        device = group["params"][0].device
        group["lr"] = torch.tensor(group["lr"], device=device)
        group["fused" if isinstance(optimiser, torch.optim.SGD) else "capturable"] = True  # SGD has no other such form
        for parameter in group["params"]:
            state = optimiser.state.get(parameter, {})
            if "step" in state:
                state["step"] = state["step"].to(device)


def plain(groups: list[dict[str, Any]]) -> None:
    """Write what `make_capturable` changed in the groups of an optimiser's state as it was, in place.

    What is resumed may be trained eagerly.
    """
    for group in groups:
        group["lr"] = float(group["lr"])
        group |= {key: value for key, value in (("fused", None), ("capturable", False)) if key in group}


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
                raise PapertrailError(f"optimiser.spare: `{rule}` meets no parameter; {nearest(rule, names)}")
        spared |= met
    return spared


def _layer_scales(names: list[str], spec: LayerDecay | None) -> dict[str, float]:
    """By parameter, in the network's order, the factor on its learning rate."""
    if spec is None:
        return dict.fromkeys(names, 1.0)
    parts = spec.blocks.count(".") + 1
    blocks: list[str] = []
    depths, end = {}, 0
    for place, name in enumerate(names):
        block = ".".join(name.split(".")[:parts])
        if fnmatch.fnmatchcase(block, spec.blocks):
            if block not in blocks:
                blocks.append(block)
            end = place
        depths[name] = -(-len(blocks) // spec.group)
    if not blocks:
        raise PapertrailError(
            f"optimiser.layer_decay.blocks: `{spec.blocks}` meets no block; the first parameter is `{names[0]}`"
        )
    whole = -(-len(blocks) // spec.group) + 1
    depths |= {name: whole for name in names[end + 1 :]}
    return {name: spec.rate ** (whole - depth) for name, depth in depths.items()}


def learning_rate_factor(spec: Schedule, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """The factor on the base learning rate at optimiser step `step` (from 0) of `total_steps`."""
    warmup = spec.warmup_steps or spec.warmup_epochs * steps_per_epoch
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
