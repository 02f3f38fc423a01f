"""Whether two networks are one function, tried on noise; where they part, the module and the operations are named."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from shared.compression.kinds import by_channel
from shared.compression.probe import ForwardError, duplicate, named, noise, outputs
from shared.compression.trace import Trace
from shared.errors import PapertrailError

# Of the largest value. float64 leaves 1e-12 or less; a forward that insists on float32 leaves 1e-5 or less.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3}


def versions(network: nn.Module, shape: tuple[int, int, int]) -> tuple[nn.Module, ...]:
    """With which parameters networks are compared: `settled` ones, whose norms give much or little, and their own.

    Where norms give little, a maximum over channels changes when one that is masked is gone.
    """
    return settled(network, shape), settled(network, shape, -2.0), network


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

    Raises:
        PapertrailError: they differ, or one fails; names the first module of the smaller one where it shows.
    """
    wanted, dtype = _precise(whole, shape)
    small, tolerance = small.cpu().eval().to(dtype), TOLERANCES[dtype]
    if not all(bool(tensor.isfinite().all()) for tensor in wanted):
        raise PapertrailError(
            f"{named(whole)}: what it makes of noise, masked, is not finite; did it diverge, or does it divide by 0?"
        )
    try:
        found = outputs(small, noise(small, shape))
    except ForwardError as error:
        raise _parted(whole, shape, error.module, error.reason) from error
    if _alike(found, wanted, tolerance):
        return
    if not _alike(outputs(whole, noise(whole, shape)), wanted, tolerance):
        raise PapertrailError(f"{named(whole)}: it gives something else each time, so that nothing can be compared")
    module = _parting(whole, small, shape, tolerance)
    raise _parted(whole, shape, module, "gives something else than with it masked")


def _precise(network: nn.Module, shape: tuple[int, int, int]) -> tuple[list[Tensor], torch.dtype]:
    """What a network gives in float64, or in float32 where its forward insists on that, and in which of the two."""
    network.cpu().eval()
    for dtype in TOLERANCES:
        try:
            return outputs(network.to(dtype), noise(network, shape)), dtype
        except ForwardError as error:
            failure = error
    raise failure


def _alike(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> bool:
    return [tensor.shape for tensor in found] == [tensor.shape for tensor in wanted] and all(
        bool((ours.double() - theirs.double()).abs().le(tolerance * (theirs.double().abs().amax() + 1e-4)).all())
        for ours, theirs in zip(found, wanted, strict=True)
        if theirs.numel()
    )


def _parting(first: nn.Module, second: nn.Module, shape: tuple[int, int, int], tolerance: float) -> str:
    """The first module of the second network whose channels are not all among those that it gives in the first."""
    kept = [_kept(network, noise(network, shape)) for network in (first, second)]
    for (name, layer, wanted), (other, _, found) in zip(*kept, strict=False):
        if name != other or not _among(layer, found, wanted, tolerance):
            return named(second, other)
    return named(second)


def _kept(network: nn.Module, images: Tensor) -> list[tuple[str, nn.Module, Tensor]]:
    """What each module gives, in the order in which they end; the network keeps the hooks."""
    found: list[tuple[str, nn.Module, Tensor]] = []

    def keep(name: str) -> Any:
        def hook(layer: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and output.dim() > 1:
                found.append((name, layer, output.clone()))  # what follows may change it in place

        return hook

    for name, layer in network.named_modules():
        layer.register_forward_hook(keep(name))
    outputs(network, images)
    return found


def _among(layer: nn.Module, found: Tensor, wanted: Tensor, tolerance: float) -> bool:
    ours, theirs = by_channel(layer, found), by_channel(layer, wanted)
    if ours.shape[0] != theirs.shape[0]:
        return False
    nearest = torch.cdist(ours.T, theirs.T).amin(1)
    return bool((nearest <= tolerance * (1 + theirs.norm())).all())


def _parted(whole: nn.Module, shape: tuple[int, int, int], module: str, reason: str) -> PapertrailError:
    trace = Trace(whole, shape)
    behind = trace.operations(module)
    above = {trace.calls.get(node) for node in trace.makers(trace.read_by(module))}
    norms = [name for name in getattr(whole, "prunable", ()) if name in above]
    reason += f" (behind {behind})" if behind else ""
    remedy = f"leave {' and '.join(norms) or 'what is before it'} out of `prunable`, or let forward follow its shapes"
    return PapertrailError(f"{module}: without the pruned part it {reason}; {remedy}")
