"""Papertrail replicates efficient-vision papers and shows its evidence: the core that every paper reuses."""
