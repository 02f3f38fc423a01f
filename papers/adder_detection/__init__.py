"""An Empirical Study of Adder Neural Networks for Object Detection (Chen et al., NeurIPS 2021), and AdderNet."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.adder_detection.method import AdaptiveLearningRate
from papers.adder_detection.model import AdderCifarResNet, VGGSmall, adder_resnet
from shared.training.method import Method

CIFAR_DEPTHS, IMAGENET_DEPTHS = (20, 32), (18, 50, 101)

# `adder=False` of each is its twin with convolutions, which has a name of its own too.
MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"adder_resnet{depth}": functools.partial(AdderCifarResNet, depth) for depth in CIFAR_DEPTHS},
    **{f"resnet{depth}": functools.partial(AdderCifarResNet, depth, adder=False) for depth in CIFAR_DEPTHS},
    "adder_vgg_small": VGGSmall,
    "vgg_small": functools.partial(VGGSmall, adder=False),
    **{f"adder_resnet{depth}": functools.partial(adder_resnet, depth) for depth in IMAGENET_DEPTHS},
    **{f"resnet{depth}": functools.partial(adder_resnet, depth, adder=False) for depth in IMAGENET_DEPTHS},
}

_CIFAR = ((3, 32, 32), 10)
_IMAGENET = ((3, 224, 224), 1000)
# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    name: _IMAGENET if name.endswith(("18", "50", "101")) else _CIFAR for name in MODELS
}

METHODS: dict[str, type[Method]] = {"adder": AdaptiveLearningRate}
