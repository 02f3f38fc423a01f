"""GhostNet's real latency beside that of ResNet-50 and MobileNetV3-Large, and beside what the MACs promise."""

from __future__ import annotations

import functools

import torch
from torch import nn

from papers.ghostnet import MODELS
from shared.measure import count, latency
from tests.benchmarks.runner import Contest, Side

NETWORKS = {"GhostNet 1.0x": "ghostnet", "ResNet-50": "resnet50", "MobileNetV3-Large 1.0x": "mobilenet_v3_large"}


def contests(tiny: bool) -> list[Contest]:
    """One image of 224 x 224 at one and at two threads."""
    side = 32 if tiny else 224
    shape = (3, side, side)
    torch.manual_seed(0)
    networks = {title: MODELS[name]() for title, name in NETWORKS.items()}
    macs = {title: count(network, shape).macs for title, network in networks.items()}
    return [
        Contest(
            what=f"one image of {side} x {side}",
            sides={title: _side(network, shape, threads) for title, network in networks.items()},
            turns=1 if tiny else 12,
            threads=threads,
            unit="ms",
            promised={title: macs[title] / macs["GhostNet 1.0x"] for title in networks},
        )
        for threads in ((1,) if tiny else (1, 2))
    ]


def _side(network: nn.Module, shape: tuple[int, int, int], threads: int) -> Side:
    timed = functools.partial(latency, network, shape, thread_count=threads, warmup=1, repeats=5)
    return lambda: timed().median_ms / 1000
