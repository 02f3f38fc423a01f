"""Blocks that two or more papers use."""
