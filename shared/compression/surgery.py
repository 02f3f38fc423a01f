"""Channel surgery: the weights of a smaller network of the same code, out of a network and the channels to keep.

Torch-Pruning's dependency graph finds what loses channels together with a BatchNorm: the layer that makes them,
depthwise convolutions on the way, the inputs of the next layers, also behind a concatenation or a flattening. It knows
neither ChannelSelect, whose output depends on no other layer, nor ChannelShuffle, which permutes places: both end its
search, and we go on from there. Nor does it ask whether dropping a channel leaves the rest of the function as it was
(a residual stream, a tensor that another layer reads too): we do, and refuse by name.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch_pruning.dependency import Node

from shared.errors import PapertrailError, nearest
from shared.layers.select import ChannelSelect
from shared.layers.shuffle import ChannelShuffle
from shared.layers.widths import prunable_norms

End = tuple[str, bool]  # a layer's name, and whether its outputs (or its inputs) are meant


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
            norms[name].weight[~mask] = 0
            norms[name].bias[~mask] = 0


def hold_channels(network: nn.Module, keep: Mapping[str, Tensor]) -> None:
    """From now on the scale and shift of the dropped channels get no gradient, so that what is zero stays zero.

    Liu et al., Network Slimming, the official code's variant with masks; arguments and errors as of `masked`.
    """
    norms = prunable_norms(network)
    _check_masks(norms, keep)
    for name, mask in keep.items():
        for parameter in (norms[name].weight, norms[name].bias):
            parameter.register_hook(functools.partial(_spared, mask))


def shrink(network: nn.Module, keep: Mapping[str, Tensor], shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """The state dictionary of the smaller network; the network itself stays as it is.

    It fits, strictly, what the network's builder makes of the new `widths`. The function is that of the `masked`
    network as long as activation and pooling behind a prunable layer map 0 to 0, as ReLU does.

    Args:
        network: one with `prunable` layers.
        keep: for names of `prunable`, which channels stay: (channels,) bool. Layers that are not named keep theirs.
        shape: (C, H, W) of an image that the network takes; it shows which layer follows which, nothing is computed.

    Raises:
        PapertrailError: as `masked`; also a layer without any channel left, channels that other layers make or read
            besides (a residual stream), groups of a convolution that would differ in size, a layer of a kind not known
            here.
    """
    norms = prunable_norms(network)
    _check_masks(norms, keep)
    for name, mask in keep.items():
        if not bool(mask.any()):
            raise PapertrailError(f"{name}: no channel would be left; keep one at least")
    layers: dict[str, Any] = dict(network.named_modules())
    tracer = _Tracer(network, shape)
    kept: dict[End, Tensor] = {}
    for norm, mask in keep.items():
        for (layer, output), places in tracer.follow(norm, (~mask).nonzero().flatten().tolist()).items():
            whole = torch.ones(_size(layers[layer], output), dtype=torch.bool)
            kept.setdefault((layer, output), whole)[list(places)] = False
    state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    for layer in sorted({layer for layer, _ in kept}):
        for part, tensor in _sliced(layer, layers[layer], kept.get((layer, True)), kept.get((layer, False))).items():
            state[f"{layer}.{part}"] = tensor.detach().clone()
    return state


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
        PapertrailError: the channels of a layer cannot go; see `shrink`.
    """
    tracer, sizes = _Tracer(network, shape), prunable_norms(network)
    found: dict[str, dict[str, list[list[int]]]] = {}
    for norm in norms:
        found[norm] = {}
        for channel in range(sizes[norm].num_features):
            for (layer, output), places in tracer.follow(norm, [channel]).items():
                if not output and _mixes(network.get_submodule(layer)):
                    found[norm].setdefault(layer, []).append(sorted(places))
    return found


def _spared(mask: Tensor, gradient: Tensor) -> Tensor:
    return gradient * mask.to(gradient.device)


def _check_masks(norms: Mapping[str, Any], keep: Mapping[str, Tensor]) -> None:
    for name, mask in keep.items():
        if name not in norms:
            raise PapertrailError(f"{name}: no prunable layer of this network; {nearest(name, norms)}")
        wanted = norms[name].weight.shape
        if mask.dtype != torch.bool or mask.shape != wanted:
            found = f"{mask.dtype} {tuple(mask.shape)}"
            raise PapertrailError(f"{name}: the mask is {found}, it has to be torch.bool {tuple(wanted)}")


class _Boundary(torch_pruning.BasePruningFunc):
    """Tells the graph of a layer whose inputs and outputs lose channels apart; it prunes nothing itself."""

    def prune_out_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
        raise NotImplementedError

    def prune_in_channels(self, layer: nn.Module, idxs: Any) -> nn.Module:
        raise NotImplementedError

    def get_out_channels(self, layer: nn.Module) -> int:
        return _size(layer, output=True)

    def get_in_channels(self, layer: nn.Module) -> int:
        return _size(layer, output=False)


class _Tracer:
    """Finds what loses channels together with a norm, in a twin of the network on the meta device."""

    def __init__(self, network: nn.Module, shape: tuple[int, int, int]) -> None:
        shuffles = {name: layer for name, layer in network.named_modules() if isinstance(layer, ChannelShuffle)}
        self.permutations = {name: layer.index.cpu() for name, layer in shuffles.items()}
        self.twin = copy.deepcopy(network).to("meta").requires_grad_(True)
        named = (*self.twin.named_modules(), *self.twin.named_parameters())
        self.names = {part: name for name, part in named}
        boundaries = {ChannelSelect: _Boundary(), ChannelShuffle: _Boundary()}
        with torch.enable_grad():  # the graph is read off autograd's
            self.graph = torch_pruning.DependencyGraph().build_dependency(
                self.twin, torch.empty(1, *shape, device="meta"), customized_pruners=boundaries, verbose=False
            )

    def follow(self, norm: str, dropped: list[int]) -> dict[End, set[int]]:
        """The places that go at each end of each layer, the norm's own included."""
        if not dropped:
            return {}
        lost: dict[End, set[int]] = {}
        todo = [(self.twin.get_submodule(norm), torch_pruning.prune_batchnorm_out_channels, dropped)]
        while todo:
            for dependency, places in self.graph.get_pruning_group(*todo.pop()):
                layer, handler = dependency.target.module, dependency.handler
                if layer in self.names and not _is_known(layer):
                    raise _refusal(norm, f"{self.names[layer]} has its channels and is of no known kind")
                if layer not in self.names:  # an operation without parameters
                    continue
                name = self.names[layer]
                ends = [self.graph.is_in_channel_pruning_fn(handler), self.graph.is_out_channel_pruning_fn(handler)]
                for output in (end for end in (False, True) if ends[end]):
                    new = set(places) - lost.setdefault((name, output), set())
                    lost[name, output] |= new
                    if new and name in self.permutations:
                        todo.append(self._across(name, output, sorted(new)))
        self._refuse_shared(norm, sorted(name for name, output in lost if output))
        return lost

    def _across(self, shuffle: str, output: bool, places: list[int]) -> tuple[nn.Module, Any, list[int]]:
        """Where the search goes on at the other end of a shuffle."""
        layer, index = self.twin.get_submodule(shuffle), self.permutations[shuffle]
        pruner = self.graph.get_pruner_of_module(layer)
        if output:
            return layer, pruner.prune_in_channels, index[places].tolist()
        return layer, pruner.prune_out_channels, torch.isin(index, torch.tensor(places)).nonzero().flatten().tolist()

    def _refuse_shared(self, norm: str, lose: list[str]) -> None:
        """Channels can go when one layer makes them and all that read them stand behind the norm, where they are 0."""
        nodes = self.graph.module2node
        makers = [name for name in lose if _mixes(self.twin.get_submodule(name))]
        if len(makers) != 1:
            raise _refusal(norm, f"its channels are those of {' and '.join(makers)} together")
        root, maker = nodes[self.twin.get_submodule(norm)], nodes[self.twin.get_submodule(makers[0])]
        for node in _reached(maker, root):
            if _mixes(node.module) or not node.outputs:
                raise _refusal(norm, f"{self._called(node)} reads {makers[0]} without it")
        behind = list(_reached(root, root))
        if any(not node.outputs and not _mixes(node.module) for node in (root, *behind)):
            raise _refusal(norm, "its channels are the network's output")
        for node in behind:
            layer = node.module
            if isinstance(layer, _BatchNorm) or (_is_depthwise(layer) and _has_bias(layer)):
                raise _refusal(norm, f"{self._called(node)} behind it shifts what is zero")
            if isinstance(layer, ChannelSelect):
                raise _refusal(norm, f"{self._called(node)} selects among its channels")

    def _called(self, node: Node) -> str:
        return self.names.get(node.module) or "the network's output"


def _refusal(norm: str, reason: str) -> PapertrailError:
    return PapertrailError(f"{norm}: cannot shrink, since {reason}")


def _reached(start: Node, stop: Node) -> Iterator[Node]:
    """What reads the channels of `start`, up to and with the layers that mix them; not `stop` and what is beyond it."""
    todo, seen = list(start.outputs), {stop}
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            yield node
            if not _mixes(node.module):
                todo += node.outputs


def _is_known(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):  # to the graph, as many groups as outputs are a depthwise convolution
        return layer.groups in (1, layer.in_channels) or layer.groups != layer.out_channels
    return isinstance(layer, nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d | ChannelSelect | ChannelShuffle)


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1


def _mixes(layer: nn.Module) -> bool:
    """Whether a layer has outputs of its own, which are not one by one its input channels."""
    return isinstance(layer, nn.Conv2d | nn.Linear | ChannelSelect) and not _is_depthwise(layer)


def _has_bias(layer: Any) -> bool:
    return getattr(layer, "bias", None) is not None


def _size(layer: Any, output: bool) -> int:
    """Channels at an end of a layer."""
    if isinstance(layer, nn.Conv2d):
        return layer.out_channels if output else layer.in_channels
    if isinstance(layer, nn.Linear):
        return layer.out_features if output else layer.in_features
    if isinstance(layer, ChannelSelect):
        return len(layer.index) if output else layer.channels
    return len(layer.index) if isinstance(layer, ChannelShuffle) else layer.num_features


def _sliced(name: str, layer: Any, outputs: Tensor | None, inputs: Tensor | None) -> dict[str, Tensor]:
    """A layer's smaller tensors; `outputs` and `inputs` are the channels that stay at its ends, None for all."""
    rows = torch.ones(_size(layer, True), dtype=torch.bool) if outputs is None else outputs
    columns = torch.ones(_size(layer, False), dtype=torch.bool) if inputs is None else inputs
    if isinstance(layer, _BatchNorm):
        parts = {"weight": layer.weight, "bias": layer.bias, "running_mean": layer.running_mean}
        parts["running_var"] = layer.running_var
        return {part: tensor[rows] for part, tensor in parts.items() if tensor is not None}
    if isinstance(layer, ChannelSelect):
        return {"index": layer.index[rows]}
    if isinstance(layer, ChannelShuffle):  # the old permutation without the dropped channels, counted anew
        return {"index": (columns.cumsum(0) - 1).to(layer.index.device)[layer.index[rows]]}
    if _is_depthwise(layer):
        weight = layer.weight[rows]
    else:
        groups = getattr(layer, "groups", 1)
        each = zip(layer.weight.chunk(groups), rows.chunk(groups), columns.chunk(groups), strict=True)
        blocks = [block[row][:, column] for block, row, column in each]
        if len({block.shape for block in blocks}) > 1:
            raise PapertrailError(f"{name}: its {groups} groups would differ in size; keep as many channels of each")
        weight = torch.cat(blocks)
    return {"weight": weight} | ({"bias": layer.bias[rows]} if _has_bias(layer) else {})
