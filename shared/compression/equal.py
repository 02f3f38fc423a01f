"""Whether two networks are one function, tried on noise; where they part, the module and the operations are named."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from shared.compression.kinds import by_channel
from shared.compression.probe import ForwardError, duplicate, named, noise, outputs
from shared.compression.trace import Trace
from shared.errors import PapertrailError

# Of the largest value. float64 leaves 1e-12 or less; a forward that insists on float32 leaves 1e-5 or less.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}


def versions(network: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Module, ...]:
    """With which parameters networks are compared: `settled` ones, whose norms give much or little, and their own.

    Where norms give little, a maximum over channels changes when one that is masked is gone.
    """
    return settled(network, shape), settled(network, shape, -5.0), network


@torch.no_grad()
def settled(network: nn.Module, shape: tuple[int, int, int], shift: float = 1.0) -> nn.Module:
    """A copy with random parameters, and in its norms the statistics of noise, varied: no two channels are alike.

    What a network learned would hide mistakes: scales of zero, channels that noise never activates.

    Args:
        network: any.
        shape: (C, H, W) of an image.
        shift: about the bias of its norms.

    Raises:
        ForwardError: its forward fails.
    """
    twin, generator = duplicate(network), torch.Generator().manual_seed(1)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    for parameter in twin.parameters():
        if parameter.is_floating_point() and parameter.dim() > 1:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
        elif parameter.is_floating_point():
            parameter.copy_(uniform(parameter, 0.5, 1.5))
    kinds = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
    norms: list[Any] = [layer for layer in twin.modules() if isinstance(layer, kinds) and layer.track_running_stats]
    for norm in norms:
        norm.train().momentum = 1.0
        if norm.affine:
            norm.bias += shift - 1
    outputs(twin, noise(twin, shape))
    for norm in norms:
        norm.eval()
        norm.running_mean += uniform(norm.running_mean, -0.5, 0.5) * norm.running_var.sqrt()
        norm.running_var *= uniform(norm.running_var, 0.5, 2.0)
    return twin


@torch.no_grad()
def check_equal(whole: nn.Module, small: nn.Module, shape: tuple[int, int, int]) -> None:
    """Compare what two networks give for noise of `shape` (C, H, W); both are used up, since they become float64.

    On the way, too, since what follows can hide a difference: the channels that a module gives in the smaller network
    are among those that it gives in the other.

    Raises:
        PapertrailError: they differ, or one fails; names the first module of the smaller one where it shows.
    """
    wanted, dtype = _precise(whole, shape)
    if not all(bool(tensor.isfinite().all()) for tensor in wanted.outputs):
        raise PapertrailError(
            f"{named(whole)}: what it makes of noise, masked, is not finite; did it diverge, or does it divide by 0?"
        )
    try:
        found = _given(small.cpu().eval().to(dtype), shape)
    except ForwardError as error:
        raise _parted(whole, shape, error.module, error.reason) from error
    module = _parting(found, wanted, TOLERANCES[dtype])
    if module is None:
        return
    if _parting(_given(whole, shape), wanted, TOLERANCES[dtype]) is not None:
        raise PapertrailError(f"{named(whole)}: it gives something else each time, so that nothing can be compared")
    raise _parted(whole, shape, named(small, module), "gives something else than with it masked")


@dataclasses.dataclass(frozen=True)
class _Given:
    """What a network gives for noise.

    Attributes:
        outputs: its tensors.
        modules: of each module without others in it, and of each time that it runs, in that order: how many places a
            channel has, and (channels, 2) sums over them with random weights, which differ when the channels do.
    """

    outputs: list[Tensor]
    modules: dict[tuple[str, int], tuple[int, Tensor]]


def _given(network: nn.Module, shape: tuple[int, int, int]) -> _Given:
    modules: dict[tuple[str, int], tuple[int, Tensor]] = {}
    runs: collections.Counter[str] = collections.Counter()

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1:
                values = by_channel(layer, output)
                weights = torch.randn(len(values), 2, generator=torch.Generator().manual_seed(2))
                modules[name, runs[name]] = len(values), values.T @ weights.to(values.dtype)
                runs[name] += 1

        return hook

    with contextlib.ExitStack() as hooks:
        for name, layer in network.named_modules():
            if not list(layer.children()):
                hooks.enter_context(layer.register_forward_hook(watch(name)))
        return _Given(outputs(network, noise(network, shape)), modules)


def _precise(network: nn.Module, shape: tuple[int, int, int]) -> tuple[_Given, torch.dtype]:
    """What a network gives in float64, or in float32 where its forward insists on that, and in which of the two."""
    network.cpu().eval()
    for dtype in TOLERANCES:
        try:
            return _given(network.to(dtype), shape), dtype
        except ForwardError as error:
            failure = error
    raise failure


def _parting(found: _Given, wanted: _Given, tolerance: float) -> str | None:
    """The first module that gives other channels; "" where the outputs differ alone, None where nothing does."""
    for run, (places, ours) in found.modules.items():
        others, theirs = wanted.modules.get(run, (0, ours))
        if places == others:  # else the channels that went are among its places
            nearest = torch.cdist(ours, theirs, compute_mode="donot_use_mm_for_euclid_dist").amin(1)
            if not bool((nearest <= _most(theirs, tolerance)).all()):
                return run[0]
    if [tensor.shape for tensor in found.outputs] != [tensor.shape for tensor in wanted.outputs]:
        return ""
    for one, other in zip(found.outputs, wanted.outputs, strict=True):
        if one.numel() and not bool(((one.double() - other.double()).abs() <= _most(other.double(), tolerance)).all()):
            return ""
    return None


def _most(values: Tensor, tolerance: float) -> Tensor:
    """By how much values may be off."""
    return tolerance * (values.abs().amax() + 1e-4)


def _parted(whole: nn.Module, shape: tuple[int, int, int], module: str, reason: str) -> PapertrailError:
    trace = Trace(whole, shape)
    behind = trace.operations(module)
    above = {trace.calls.get(node) for node in trace.makers(trace.read_by(module))}
    norms = [name for name in getattr(whole, "prunable", ()) if name in above]
    reason += f" (behind {behind})" if behind else ""
    remedy = f"leave {' and '.join(norms) or 'what is before it'} out of `prunable`, or let forward follow its shapes"
    return PapertrailError(f"{module}: without the pruned part it {reason}; {remedy}")
