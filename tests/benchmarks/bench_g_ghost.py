"""The latency of G-Ghost networks beside their baselines', and beside what MACs and activations promise."""

from __future__ import annotations

import functools

import torch
from torch import nn

from papers.hetero_ghostnet import MODELS
from shared.measure import Count, count, latency
from tests.benchmarks.runner import Contest, Side

# The network, its baseline, and the smaller one of the baseline's family that costs about as much.
SMALL = ("g_ghost_regnetx_004", "regnetx_004", "regnetx_002")
LARGE = ("g_ghost_regnetx_032", "regnetx_032", "regnetx_016")
RESNET = ("g_ghost_resnet101", "resnet101", "resnet50")
# Of what, on which device, at which batch: one core needs a minute for eight images of the large ones.
CPU = ((SMALL, (1, 8, 32)), (LARGE, (1, 8)), (RESNET, (1,)))
CUDA = ((SMALL, (1, 64)), (LARGE, (1, 64)), (RESNET, (1, 64)))


def contests(tiny: bool) -> list[Contest]:
    """Images of 224 x 224 on one thread, and on a GPU where there is one."""
    side = 32 if tiny else 224
    shape = (3, side, side)
    torch.manual_seed(0)
    if tiny:
        return [_contest(SMALL[:2], shape, 2, "cpu", turns=1)]
    places = [("cpu", *one) for one in CPU] + [("cuda", *one) for one in CUDA if torch.cuda.is_available()]
    return [_contest(names, shape, batch, device) for device, names, batches in places for batch in batches]


def _contest(names: tuple[str, ...], shape: tuple[int, int, int], batch: int, device: str, turns: int = 8) -> Contest:
    networks = {name: MODELS[name]() for name in names}
    counts = {name: count(network, shape) for name, network in networks.items()}
    titles = {name: _title(name, counts[name], counts[names[0]]) for name in names}
    return Contest(
        what=f"batch {batch}, {shape[1]} x {shape[2]}, {device}",
        sides={titles[name]: _side(networks[name], shape, batch, device) for name in names},
        turns=turns,
        unit="ms",
        promised={titles[name]: counts[name].macs / counts[names[0]].macs for name in names},
    )


def _title(name: str, cost: Count, ours: Count) -> str:
    more = cost.activations / ours.activations
    return name if cost is ours else f"{name} ({more:.2f} x activations)"


def _side(network: nn.Module, shape: tuple[int, int, int], batch: int, device: str) -> Side:
    timed = functools.partial(latency, shape=shape, batch=batch, warmup=1, repeats=4)
    return lambda: timed(network.to(device)).median_ms / 1000 / batch
