"""Pruned networks against the ones they were made from: measured ratios beside what the MACs promise.

The structures are published ones: the compact VGG-19 of Network Slimming (supplement, table 5), and those that
Rethinking the Value of Network Pruning takes from Li et al. Weights are random: they do not change what a layer costs.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from papers import network_slimming, rethinking_pruning
from shared.measure import count, latency
from tests.benchmarks.runner import Contest, Side

SHAPE = (3, 32, 32)
COMPACT = "22-62-83-119-193-168-85-40-32-32-32-32-32-32-32-38"


def contests(tiny: bool) -> list[Contest]:
    """Single images and batches of 32, on one thread."""
    torch.manual_seed(0)
    slim, rethinking = network_slimming.MODELS, rethinking_pruning.MODELS
    pairs = {
        "VGG-19, network slimming": (slim["vgg19"](widths=COMPACT), slim["vgg19"]()),
        "VGG-16-A, L1 norm": (rethinking["vgg16_a"](), rethinking["vgg16"]()),
        "ResNet-56-B, L1 norm": (rethinking["resnet56_b"](), rethinking["resnet56"]()),
    }
    return [
        Contest(
            what=f"{what}, batch {batch}",
            sides={"pruned": _side(pruned, batch), "whole": _side(whole, batch)},
            turns=1 if tiny else 12,
            unit="ms",
            promised={"whole": count(whole, SHAPE).macs / count(pruned, SHAPE).macs},
        )
        for what, (pruned, whole) in list(pairs.items())[: 1 if tiny else None]
        for batch in ((1,) if tiny else (1, 32))
    ]


def _side(network: nn.Module, batch: int) -> Side:
    timed = functools.partial(latency, network, SHAPE, batch=batch, warmup=1, repeats=5)
    return lambda: timed().median_ms / 1000 / batch
