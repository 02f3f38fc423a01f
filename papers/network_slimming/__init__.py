"""Network Slimming: Learning Efficient Convolutional Networks through Network Slimming (Liu et al., ICCV 2017)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.network_slimming.method import Slimming
from papers.network_slimming.model import densenet, mlp_mnist, preact_resnet, vgg19, vgg_a
from shared.training.method import Method

MODELS: dict[str, Callable[..., nn.Module]] = {
    "vgg19": vgg19,
    "densenet40": functools.partial(densenet, 40),
    "preact_resnet164": functools.partial(preact_resnet, 164),
    "vgg_a": vgg_a,
    "mlp_mnist": mlp_mnist,
    # Not in the paper: for machines that cannot train 40 or 164 layers.
    "densenet22": functools.partial(densenet, 22),
    "preact_resnet20": functools.partial(preact_resnet, 20),
}

_CIFAR = ((3, 32, 32), 10)
# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {name: _CIFAR for name in MODELS} | {
    "vgg_a": ((3, 224, 224), 1000),
    "mlp_mnist": ((1, 28, 28), 10),
}

# What a recipe can name as its `method`.
METHODS: dict[str, type[Method]] = {"slimming": Slimming}
