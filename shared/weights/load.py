"""Networks from pinned weights."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from shared.builders import build
from shared.errors import PapertrailError
from shared.weights.card import Card, find, read_card
from shared.weights.storage import content_digest, fill, load_weights


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


def noise(shape: tuple[int, int, int], seed: int, count: int = 4) -> Tensor:
    """Images (count, C, H, W) of white noise, mean 0 and deviation 1; the same with every version of PyTorch."""
    from shared.datasets import rng  # late: the data sets bring Lightning, which counting a network does not need

    draws = rng.uniform(seed, 0, torch.arange(count), math.prod(shape))
    return ((draws * 2 - 1) * math.sqrt(3)).view(count, *shape)
