"""GhostNet: More Features from Cheap Operations (Han et al., CVPR 2020)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.ghostnet.model import (
    GhostNet,
    ghost_resnet20,
    ghost_resnet50,
    ghost_resnet56,
    ghost_vgg16,
    vgg16,
)
from shared.baselines.mobilenet_v2 import MobileNetV2
from shared.baselines.mobilenet_v3 import MobileNetV3
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import CifarResNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "ghostnet": GhostNet,
    "ghost_vgg16": ghost_vgg16,
    "ghost_resnet20": ghost_resnet20,
    "ghost_resnet56": ghost_resnet56,
    "ghost_resnet50": ghost_resnet50,
    "vgg16": vgg16,
    "resnet20": functools.partial(CifarResNet, 20),
    "resnet56": functools.partial(CifarResNet, 56),
    "resnet50": functools.partial(ResNet, 50),
    "mobilenet_v2": MobileNetV2,
    "mobilenet_v3_large": functools.partial(MobileNetV3, "large"),
    "mobilenet_v3_small": functools.partial(MobileNetV3, "small"),
}

_CIFAR = ((3, 32, 32), 10)
_IMAGENET = ((3, 224, 224), 1000)
# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    name: _CIFAR if "vgg" in name or name.endswith(("resnet20", "resnet56")) else _IMAGENET for name in MODELS
}
