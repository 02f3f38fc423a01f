"""Checkpoints: pinned weights, the cards that say what they are, verification and citation."""
