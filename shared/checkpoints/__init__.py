"""Checkpoints: records of pinned runs, the weights that are kept, verification and citation."""

from shared.weights.card import Card, Identity, cards
from shared.weights.load import load_checkpoint
from shared.weights.records import Records, SeedRecord, protocols_recorded, read_records

__all__ = ["Card", "Identity", "Records", "SeedRecord", "cards", "load_checkpoint", "protocols_recorded",
           "read_records"]  # fmt: skip
