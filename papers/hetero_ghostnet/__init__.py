"""GhostNets on Heterogeneous Devices via Cheap Operations (Han et al., IJCV 2022): C-GhostNet and G-GhostNet."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.ghostnet.model import GhostNet
from papers.hetero_ghostnet.model import g_ghost_regnetx, g_ghost_resnet
from papers.hetero_ghostnet.regnet import SIZES, regnetx
from shared.baselines.resnet import ResNet

RESNETS = (50, 101, 152)
MODELS: dict[str, Callable[..., nn.Module]] = {
    "c_ghostnet": GhostNet,
    **{f"g_ghost_regnetx_{size}": functools.partial(g_ghost_regnetx, size) for size in SIZES},
    **{f"regnetx_{size}": functools.partial(regnetx, size) for size in SIZES},
    **{f"g_ghost_resnet{depth}": functools.partial(g_ghost_resnet, depth) for depth in RESNETS},
    **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in RESNETS},
}

# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = dict.fromkeys(MODELS, ((3, 224, 224), 1000))
