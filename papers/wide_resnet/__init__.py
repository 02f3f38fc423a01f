"""Wide Residual Networks (Zagoruyko and Komodakis, BMVC 2016)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.wide_resnet.model import wrn, wrn18_imagenet, wrn34_imagenet, wrn50_bottleneck, wrn_block, wrn_deepening
from shared.baselines.preact_resnet import ImageNetPreactResNet, PreactResNet
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import CifarResNet

_CIFAR = ((3, 32, 32), 10)
_IMAGENET = ((3, 224, 224), 1000)

_SMALL: dict[str, Callable[..., nn.Module]] = {
    "wrn": wrn,
    "wrn_block": wrn_block,
    "wrn_deepening": wrn_deepening,
    # What tables 5 and 6 compare with.
    "resnet110": functools.partial(CifarResNet, 110),
    "resnet1202": functools.partial(CifarResNet, 1202),
    "preact_resnet164": functools.partial(PreactResNet, 164),
    "preact_resnet1001": functools.partial(PreactResNet, 1001),
}
_LARGE: dict[str, Callable[..., nn.Module]] = {
    "wrn18_imagenet": wrn18_imagenet,
    "wrn34_imagenet": wrn34_imagenet,
    "wrn50_bottleneck": wrn50_bottleneck,
    # What table 8 compares with.
    **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in (50, 101, 152)},
    "preact_resnet200": ImageNetPreactResNet,
}
MODELS = _SMALL | _LARGE

# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = dict.fromkeys(_SMALL, _CIFAR) | dict.fromkeys(_LARGE, _IMAGENET)
