"""Channel surgery: a smaller network of the same code, out of a network and the channels to keep.

The graph of a forward pass says which layer makes the channels of a BatchNorm, and whether dropping some of them can
leave the rest of the function as it was. Where they are read is not looked up, but seen: they are made NaN, and behind
whatever the network does with them (a concatenation, a flattening, a split, a shuffle), NaN arrives where they are
read. What was cut is then compared with the masked network on noise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shared.compression.equal import check_equal, settled, versions
from shared.compression.follow import followed
from shared.compression.kinds import End, by_channel, is_known, mixes, resize, size
from shared.compression.probe import duplicate, noise, outputs
from shared.compression.trace import Trace
from shared.errors import PapertrailError, nearest
from shared.layers.shuffle import ChannelShuffle
from shared.layers.widths import prunable_norms

Cuts = dict[End, Tensor]  # which channels stay at the ends that lose any: (channels,) bool


def masked(network: nn.Module, keep: Mapping[str, Tensor]) -> None:
    """Zero the scale and shift of the dropped channels, in place: the same function as the smaller network's.

    Args:
        network: one with `prunable` layers.
        keep: for names of `prunable`, which channels stay: (channels,) bool. Layers that are not named keep theirs.

    Raises:
        PapertrailError: a layer that is not prunable, a mask of another shape or type.
    """
    norms = prunable_norms(network)
    _check_masks(norms, keep)
    with torch.no_grad():
        for name, mask in keep.items():
            for parameter in (norms[name].weight, norms[name].bias):
                parameter[~mask.to(parameter.device)] = 0


def hold_channels(network: nn.Module, keep: Mapping[str, Tensor]) -> None:
    """From now on the scale and shift of the dropped channels get no gradient, so that what is zero stays zero.

    Liu et al., Network Slimming, the official code's variant with masks; arguments and errors as of `masked`.
    """
    norms = prunable_norms(network)
    _check_masks(norms, keep)
    for name, mask in keep.items():
        for parameter in (norms[name].weight, norms[name].bias):
            parameter.register_hook(_Spared(mask))


def shrink(network: nn.Module, keep: Mapping[str, Tensor], shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The state dictionary of the smaller network; the network itself stays as it is.

    It fits, strictly, what the network's builder makes of the new `widths`. Before it is given, a copy with the smaller
    layers is compared on noise with the masked network, with random weights and with its own.

    Args:
        network: one with `prunable` layers.
        keep: for names of `prunable`, which channels stay: (channels,) bool. Layers that are not named keep theirs.
        shape: (C, H, W) of an image that the network takes.

    Raises:
        PapertrailError: as `cuts` and `cut`; also when the function is not that of the masked network.
    """
    found = cuts(network, keep, shape)
    for version in versions(network, shape):
        whole, small = duplicate(version), cut(version, found)
        masked(whole, keep)
        check_equal(whole, small, shape)
    return cut(network, found).state_dict()


def cuts(network: nn.Module, keep: Mapping[str, Tensor], shape: tuple[int, int, int]) -> Cuts:
    """What `keep` means for every layer: a channel goes where it is made, and where it is read and always 0.

    Raises:
        PapertrailError: as `masked`; also a layer without any channel left, channels that other layers make or read
            besides (a residual stream), channels that are shifted from 0 or have a layer of a kind not known here.
    """
    _check_masks(prunable_norms(network), keep)
    for name, mask in keep.items():
        if not bool(mask.any()):
            raise PapertrailError(f"{name}: no channel would be left; keep one at least")
    keep = {name: mask.cpu() for name, mask in keep.items() if not bool(mask.all())}
    if not keep:
        return {}
    trace, twin = Trace(network, shape), settled(network, shape)
    stays: Cuts = {}

    def drop(layer: str, output: bool, places: Any) -> None:
        whole = torch.ones(size(trace.layers[layer], output), dtype=torch.bool)
        stays.setdefault((layer, output), whole)[places] = False

    for norm, mask in keep.items():
        for (layer, output), places in followed(trace, norm, (~mask).nonzero().flatten().tolist()).items():
            drop(layer, output, places)
    reached = _inputs(twin, keep, torch.nan, torch.isnan, shape)
    alive = _inputs(twin, keep, 0.0, torch.Tensor.bool, shape)
    for name, marked in reached.items():
        layer, gone = trace.layers[name], marked & ~alive[name]
        if bool(gone.any()):
            drop(name, False, gone)
            if not mixes(layer):
                drop(name, True, gone[layer.index.cpu()] if isinstance(layer, ChannelShuffle) else gone)
    return stays


def cut(network: nn.Module, stays: Cuts) -> nn.Module:
    """A copy on the CPU whose layers have the channels that stay; nothing says yet that its function is right.

    Raises:
        PapertrailError: groups of a convolution that would differ in size, a tensor that is another layer's, too, or
            computed from others.
    """
    small = duplicate(network)
    owners: dict[Tensor, list[str]] = {}
    for name, layer in small.named_modules():
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(parameter, []).append(name)
    for name in sorted({name for name, _ in stays}):
        layer = small.get_submodule(name)
        for others in [owners[parameter] for parameter in layer.parameters(recurse=False)]:
            if len(others) > 1:
                raise PapertrailError(
                    f"{' and '.join(others)}: they share a weight, which cannot be cut; change `prunable`"
                )
        resize(name, layer, stays.get((name, True)), stays.get((name, False)))
    return small


def readers(
    network: nn.Module, norms: Iterable[str], shape: tuple[int, int, int]
) -> dict[str, dict[str, list[list[int]]]]:
    """For prunable layers, the layers that mix their channels, and at which places of the input each channel stands.

    A convolution has one place for a channel, a linear layer behind a flattening one for each pixel.

    Args:
        network: one with `prunable` layers.
        norms: names of `prunable`.
        shape: (C, H, W) of an image that the network takes.

    Raises:
        PapertrailError: the channels of a layer cannot go; see `cuts`.
    """
    trace, twin, layers = Trace(network, shape), settled(network, shape), prunable_norms(network)
    sizes = {norm: layers[norm].num_features for norm in norms}
    for norm, channels in sizes.items():
        followed(trace, norm, list(range(channels)))
    # Every channel has a number from 1, and is seen where exactly the bits of its number are.
    numbers = dict(zip(sizes, torch.arange(1, 1 + sum(sizes.values())).split(list(sizes.values())), strict=True))
    seen: dict[str, Tensor] = {}
    for bit in range(sum(sizes.values()).bit_length()):
        without = {norm: own >> bit & 1 == 0 for norm, own in numbers.items()}
        for name, places in _inputs(twin, without, torch.nan, torch.isnan, shape).items():
            seen[name] = seen.get(name, torch.tensor(0)) + (places.long() << bit)
    found: dict[str, dict[str, list[list[int]]]] = {}
    for norm, own in numbers.items():
        read = {name: [(code == number).nonzero().flatten().tolist() for number in own] for name, code in seen.items()}
        found[norm] = {name: columns for name, columns in read.items() if any(columns) and mixes(trace.layers[name])}
        for name, columns in found[norm].items():
            if len({len(each) for each in columns}) > 1:
                raise PapertrailError(f"{norm}: {name} does not read its channels one by one")
    return found


class _Spared:
    """A gradient without what a mask drops. A GPU is waited for when the mask is brought there: that is done once."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def __call__(self, gradient: Tensor) -> Tensor:
        self.mask = self.mask.to(gradient.device)
        return gradient * self.mask


def _check_masks(norms: Mapping[str, Any], keep: Mapping[str, Tensor]) -> None:
    for name, mask in keep.items():
        if name not in norms:
            raise PapertrailError(f"{name}: no prunable layer of this network; {nearest(name, norms)}")
        if not isinstance(norms[name].weight, nn.Parameter):
            raise PapertrailError(f"{name}.weight: computed from other tensors, so that no channel of it can be masked")
        wanted = norms[name].weight.shape
        if mask.dtype != torch.bool or mask.shape != wanted:
            found = f"{mask.dtype} {tuple(mask.shape)}"
            raise PapertrailError(f"{name}: the mask is {found}, it has to be torch.bool {tuple(wanted)}")


@torch.no_grad()
def _inputs(
    network: nn.Module,
    keep: Mapping[str, Tensor],
    value: float,
    mark: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
) -> dict[str, Tensor]:
    """Which input channels of every layer known here are marked, (channels,) bool, with a value for what does not stay.

    Channels that do not stay get the value where their norms give them. NaN goes as far as to what mixes channels.
    """
    found: dict[str, Tensor] = {}

    def fill(mask: Tensor) -> Callable[..., Tensor]:
        return lambda _norm, _inputs, output: output.index_fill(1, (~mask).nonzero().flatten(), value)

    def watch(name: str) -> Callable[..., Any]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            (given,) = (*args, *kwargs.values())
            here = by_channel(layer, mark(given)).any(0)
            if len(here) != size(layer, False):
                raise PapertrailError(f"{name}: {len(here)} channels come in, where its kind has {size(layer, False)}")
            found[name] = found[name] | here if name in found else here
            return ((given.nan_to_num(0.0),), {}) if mixes(layer) else None

        return hook

    with contextlib.ExitStack() as hooks:
        for name, mask in keep.items():
            hooks.enter_context(network.get_submodule(name).register_forward_hook(fill(mask)))
        for name, layer in network.named_modules():
            if is_known(layer):
                hooks.enter_context(layer.register_forward_pre_hook(watch(name), with_kwargs=True))
        outputs(network, noise(network, shape))
    return found
