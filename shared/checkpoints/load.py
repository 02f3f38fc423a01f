"""Networks from pinned weights."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared.builders import find_model
from shared.checkpoints.card import Card, find, read_card
from shared.checkpoints.weights import content_digest, load_weights
from shared.errors import PapertrailError, UsageError

COLOUR_CHANNELS = 3


def load_checkpoint(ref: str) -> tuple[nn.Module, Card]:
    """The network of "<slug>/<name>" in evaluation mode, and its card; every hash is checked on the way."""
    path = find(ref)
    card = read_card(path)
    weights = path.with_suffix(".safetensors")
    state = load_weights(weights, card.sha256)
    if content_digest(state) != card.digest:
        raise PapertrailError(f"{weights}: the tensors' digest differs from the card's; restore the pinned file")
    return rebuild(card, state, weights), card


def rebuild(card: Card, state: dict[str, Tensor], source: Path) -> nn.Module:
    """The card's network with these weights, in evaluation mode; PapertrailError names a tensor that does not fit."""
    model = build(card.paper, card.model, dict(card.args), card.classes, card.input[0])
    fill(model, state, source)
    return model.eval()


def build(slug: str, model: str, args: dict[str, Any], classes: int, channels: int = COLOUR_CHANNELS) -> nn.Module:
    """A network of a paper; only images that are not in colour need a builder with `in_channels`.

    Raises:
        UsageError: no such builder, or an argument that it does not have; the message lists what there is.
    """
    builder = find_model(slug, model).build
    parameters = inspect.signature(builder).parameters
    extra = {} if channels == COLOUR_CHANNELS else {"in_channels": channels}
    for name in (*args, *extra):
        if name not in parameters:
            raise UsageError(f"papers/{slug}: `{model}` takes no `{name}`; it takes {', '.join(parameters)}")
    try:
        return builder(**args, **extra, classes=classes)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"papers/{slug}: `{model}` cannot be built with {args}: {error}") from error


def fill(model: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    """Put a state dictionary into a network; PapertrailError names the first tensor that is missing or does not fit."""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            raise PapertrailError(f"{source}: it has no tensor `{name}`, which the network needs")
        if state[name].shape != tensor.shape:
            found, expected = tuple(state[name].shape), tuple(tensor.shape)
            raise PapertrailError(f"{source}: `{name}` has the shape {found}, the network's has {expected}")
    for name in state:
        if name not in wanted:
            raise PapertrailError(f"{source}: the network has no tensor `{name}`")
    model.load_state_dict(state)


def noise(shape: tuple[int, int, int], seed: int, count: int = 4) -> Tensor:
    """Images (count, C, H, W) of white noise, mean 0 and deviation 1; the same with every version of PyTorch."""
    from shared.datasets import rng  # late: the data sets bring Lightning, which counting a network does not need

    draws = rng.uniform(seed, 0, torch.arange(count), math.prod(shape))
    return ((draws * 2 - 1) * math.sqrt(3)).view(count, *shape)
