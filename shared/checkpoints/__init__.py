"""Checkpoints: pinned weights, the cards that say what they are, verification and citation."""

from shared.weights.card import Card, cards
from shared.weights.load import load_checkpoint

__all__ = ["Card", "cards", "load_checkpoint"]
