"""Res2Net: A New Multi-scale Backbone Architecture (Gao et al., IEEE TPAMI 2021)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.densenet.model import densenet
from papers.res2net.dla import dla60
from papers.res2net.model import res2net, res2next29
from papers.wide_resnet.model import wrn

# Most networks that the paper compares with are those of scale 1.
MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"res2net{depth}": functools.partial(res2net, depth) for depth in (50, 101)},
    **{f"res2net{depth}_v1b": functools.partial(res2net, depth, v1b=True) for depth in (50, 101, 152, 200)},
    "res2next50": functools.partial(res2net, 50, width=4, cardinality=8),
    "res2net_dla60": functools.partial(dla60, width=28, scale=4),
    "res2next_dla60": functools.partial(dla60, width=4, scale=4, cardinality=8),
    "res2next29": res2next29,
    **{f"resnet{depth}": functools.partial(res2net, depth, width=64, scale=1) for depth in (50, 101)},
    "resnext50": functools.partial(res2net, 50, width=4, scale=1, cardinality=32),
    "dla60": dla60,
    "dlax60": functools.partial(dla60, width=4, cardinality=32),
    "resnext29": functools.partial(res2next29, cardinality=8, width=64, scale=1),
    "wide_resnet": wrn,
    "densenet": functools.partial(densenet, bottleneck=True, compression=0.5),
}

_CIFAR = ((3, 32, 32), 100)
_IMAGENET = ((3, 224, 224), 1000)
# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    name: _CIFAR if name.endswith(("29", "wide_resnet", "densenet")) else _IMAGENET for name in MODELS
}
