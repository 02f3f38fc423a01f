"""Weights that are kept: safetensors files, the cards that say what they are, and the networks made from them."""
