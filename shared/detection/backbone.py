"""Our classification networks as MMDetection backbones: the same code, and the very weights that were pinned."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shared.builders import build, find_model
from shared.errors import PapertrailError, nearest
from shared.weights.load import load_checkpoint
from shared.weights.records import identity


@MODELS.register_module()
class TapsBackbone(nn.Module):
    """(N, 3, H, W) to the named outputs of a classification network, as a tuple of (N, C, h, w).

    Args:
        paper: the slug of the paper whose network it is.
        model: a builder of its MODELS.
        args: the builder's arguments.
        taps: names of outputs of the network's `features`, in the order in which the neck wants them.
        checkpoint: "<slug>/<name>" of pinned weights; their hashes are checked, and they must be of this very network.
        norm_eval: keep the statistics of batch normalisation as they are also in training mode ("frozen" statistics).
        frozen: names of parts of the network that are not trained.

    What comes behind the last output that the network can give is left out.

    Raises:
        AttributeError: the network has no part to be frozen of that name.
        PapertrailError: the network has no such taps, or the checkpoint is of another network.
    """

    def __init__(
        self,
        paper: str,
        model: str,
        taps: tuple[str, ...] | list[str],
        args: dict[str, Any] | None = None,
        checkpoint: str | None = None,
        norm_eval: bool = False,
        frozen: tuple[str, ...] | list[str] = (),
        init_cfg: None = None,
    ) -> None:
        super().__init__()
        arguments = dict(args or {})
        network: Any = _pinned(checkpoint, paper, model, arguments) if checkpoint else build(paper, model, arguments, 1)
        if not hasattr(network, "features"):
            raise PapertrailError(f"papers/{paper}: `{model}` has no `features` to take outputs from")
        found, idle = _features(paper, model, arguments)
        for name in idle:
            parent, _, child = name.rpartition(".")
            delattr(network.get_submodule(parent), child)
        for name in frozen:
            network.get_submodule(name).requires_grad_(False)
        self.network = network
        self.taps = tuple(taps)
        self.norm_eval = norm_eval
        unknown = [tap for tap in self.taps if tap not in found]
        if unknown:
            raise PapertrailError(f"papers/{paper}: `{model}` has no tap `{unknown[0]}`; {nearest(unknown[0], found)}")
        self.out_channels = tuple(found[tap] for tap in self.taps)

    def init_weights(self) -> None:
        """Nothing to do: the network initialises itself, or came with its weights."""

    def train(self, mode: bool = True) -> TapsBackbone:
        """Training mode, but for statistics that are to stay as they are."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to one (N, C, h, w) for each tap."""
        features = self.network.features(images)
        return tuple(features[tap] for tap in self.taps)


def out_channels(paper: str, model: str, args: dict[str, Any], taps: tuple[str, ...] | list[str]) -> list[int]:
    """The channels of the named taps: what a neck's `in_channels` wants."""
    found, _ = _features(paper, model, args)
    return [found[tap] for tap in taps]


def _features(paper: str, model: str, args: dict[str, Any]) -> tuple[dict[str, int], list[str]]:
    """The channels of each feature, and the modules that no feature needs, outermost ones alone."""
    return _found(paper, model, tuple(sorted(args.items())))


@functools.cache
def _found(paper: str, model: str, args: tuple[tuple[str, Any], ...]) -> tuple[dict[str, int], list[str]]:
    with torch.device("meta"), torch.no_grad():
        network: Any = build(paper, model, dict(args), 1).eval()
        called: set[nn.Module] = set()
        for module in network.modules():
            module.register_forward_hook(lambda module, *_: called.add(module))
        channels = {name: output.shape[1] for name, output in network.features(torch.empty(1, 3, 64, 64)).items()}
    idle = [name for name, module in network.named_modules() if called.isdisjoint(module.modules())]
    return channels, [name for name in idle if name.rpartition(".")[0] not in idle]


def _pinned(ref: str, paper: str, model: str, args: dict[str, Any]) -> nn.Module:
    card = identity(ref)
    defaults = {name: one.default for name, one in inspect.signature(find_model(paper, model).build).parameters.items()}
    if (card.paper, card.model) != (paper, model) or defaults | card.args != defaults | args:
        raise PapertrailError(
            f"{ref}: pinned weights of `{card.model}` with {card.args} of papers/{card.paper}, "
            f"not of `{model}` with {args} of papers/{paper}; name another checkpoint or change the arguments"
        )
    if torch.empty(0).is_meta:  # to be counted: shapes are enough
        return build(paper, model, args, card.classes)
    return load_checkpoint(ref)[0].train()
