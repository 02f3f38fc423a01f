"""Checkpoints: records of pinned runs, the weights that are kept, verification and citation."""
