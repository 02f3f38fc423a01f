"""The latency of G-Ghost networks beside their baselines', and beside what MACs and activations promise."""

from __future__ import annotations

import functools

import torch
from torch import nn

from papers.hetero_ghostnet import MODELS
from shared.measure import Count, count, latency
from tests.benchmarks.runner import Contest, Side

# The network, its baseline, and the smaller one of the baseline's family that costs about as much.
TRIOS = (
    ("g_ghost_regnetx_004", "regnetx_004", "regnetx_002"),
    ("g_ghost_regnetx_032", "regnetx_032", "regnetx_016"),
    ("g_ghost_resnet101", "resnet101", "resnet50"),
)
BATCHES = {"cpu": (1, 8, 32), "cuda": (1, 64)}


def contests(tiny: bool) -> list[Contest]:
    """Images of 224 x 224 on one thread, and on a GPU where there is one."""
    side = 32 if tiny else 224
    shape = (3, side, side)
    torch.manual_seed(0)
    found = []
    for names in (TRIOS[0][:2],) if tiny else TRIOS:
        networks = {name: MODELS[name]() for name in names}
        counts = {name: count(network, shape) for name, network in networks.items()}
        titles = {name: _title(name, counts[name], counts[names[0]]) for name in names}
        for device in ("cpu", "cuda") if torch.cuda.is_available() and not tiny else ("cpu",):
            for batch in (2,) if tiny else BATCHES[device]:
                found.append(
                    Contest(
                        what=f"{batch} of {side} x {side}, {device}",
                        sides={titles[name]: _side(networks[name], shape, batch, device) for name in names},
                        turns=1 if tiny else 8,
                        unit="ms",
                        promised={titles[name]: counts[name].macs / counts[names[0]].macs for name in names},
                    )
                )
    return found


def _title(name: str, cost: Count, ours: Count) -> str:
    more = cost.activations / ours.activations
    return name if cost is ours else f"{name} ({more:.2f} x activations)"


def _side(network: nn.Module, shape: tuple[int, int, int], batch: int, device: str) -> Side:
    timed = functools.partial(latency, shape=shape, batch=batch, warmup=1, repeats=4)
    return lambda: timed(network.to(device)).median_ms / 1000 / batch
