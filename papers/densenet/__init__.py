"""Densely Connected Convolutional Networks (Huang, Liu, van der Maaten and Weinberger, CVPR 2017)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.densenet.model import IMAGENET_LAYERS, densenet, densenet_imagenet, preact_resnet
from papers.wide_resnet.model import wrn
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import CifarResNet

WIDE = 161  # the one with a growth of 48

MODELS: dict[str, Callable[..., nn.Module]] = {
    "densenet": densenet,
    **{
        f"densenet{depth}": functools.partial(densenet_imagenet, depth, growth=48 if depth == WIDE else 32)
        for depth in IMAGENET_LAYERS
    },
    "preact_resnet": preact_resnet,
    "wide_resnet": wrn,
    "resnet110": functools.partial(CifarResNet, 110),
    "resnet1202": functools.partial(CifarResNet, 1202),
    **{f"resnet{depth}": functools.partial(ResNet, depth) for depth in (34, 50, 101, 152)},
}

_CIFAR = ((3, 32, 32), 10)
_IMAGENET = ((3, 224, 224), 1000)
_SMALL = ("densenet", "preact_resnet", "wide_resnet", "resnet110", "resnet1202")
# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    name: _CIFAR if name in _SMALL else _IMAGENET for name in MODELS
}
