"""ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices (Zhang et al., CVPR 2018)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.shufflenet.model import ShuffleNet
from papers.shufflenet.units import UnitNetwork
from shared.baselines.mobilenet_v1 import MobileNetV1
from shared.baselines.vgg_imagenet import ImageNetVGG

MODELS: dict[str, Callable[..., nn.Module]] = {
    "shufflenet": ShuffleNet,
    "shufflenet_shallow": functools.partial(ShuffleNet, scale=0.7, repeats="2-4-2", stem=18),
    "shufflenet_cifar": functools.partial(ShuffleNet, stem_stride=1),
    "unit_network": UnitNetwork,
    "mobilenet_v1": MobileNetV1,
    "vgg16": functools.partial(ImageNetVGG, 16, norm=False, head="dropout"),
}

# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    name: ((3, 32, 32), 10) if name == "shufflenet_cifar" else ((3, 224, 224), 1000) for name in MODELS
}
