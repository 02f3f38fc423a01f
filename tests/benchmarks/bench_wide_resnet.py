"""Wide networks against thin, deep ones, forward and backward: figure 4 of Wide Residual Networks, on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from papers.wide_resnet.model import wrn
from shared.baselines.preact_resnet import PreactResNet
from shared.measure import count
from tests.benchmarks.runner import Contest, Side

Build = Callable[[], nn.Module]
# The paper's figure, and the two arms of `small`. The first is wide.
FIGURE_4: dict[str, Build] = {
    "WRN-40-4": lambda: wrn(40, 4),
    "WRN-16-10": lambda: wrn(16, 10),
    "WRN-28-10": lambda: wrn(28, 10),
    "ResNet-164": lambda: PreactResNet(164),
    "ResNet-1001": lambda: PreactResNet(1001),
}
SMALL: dict[str, Build] = {"WRN-10-1": lambda: wrn(10, 1), "WRN-28-0.5": lambda: wrn(28, 0.5)}


def contests(tiny: bool) -> list[Contest]:
    """CIFAR's images at one thread: few of them for the large networks, a batch of training for the small ones."""
    if tiny:
        return [_contest(SMALL, batch=2, size=8, turns=2)]
    return [_contest(SMALL, batch=128, size=32, turns=15), _contest(FIGURE_4, batch=8, size=32, turns=5)]


def _contest(builders: dict[str, Build], *, batch: int, size: int, turns: int) -> Contest:
    networks = {name: build() for name, build in builders.items()}
    macs = {name: count(network, (3, size, size)).macs for name, network in networks.items()}
    first = next(iter(networks))
    return Contest(
        what=f"forward and backward, {batch} images of {size} x {size}",
        sides={name: _step(network, batch, size) for name, network in networks.items()},
        turns=turns,
        promised={name: macs[name] / macs[first] for name in networks},
    )


def _step(network: nn.Module, batch: int, size: int) -> Side:
    network = network.train().to(memory_format=torch.channels_last)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10

    def turn() -> float:
        started = time.perf_counter()
        network.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        return (time.perf_counter() - started) / batch

    return turn
