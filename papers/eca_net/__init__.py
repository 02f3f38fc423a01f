"""ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks (Wang et al., CVPR 2020)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.eca_net.model import PUBLISHED, attention_mobilenet_v2, attention_resnet, attention_resnet20

MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"eca_resnet{depth}": functools.partial(attention_resnet, depth, "eca") for depth in PUBLISHED},
    **{f"se_resnet{depth}": functools.partial(attention_resnet, depth, "se") for depth in PUBLISHED},
    **{f"resnet{depth}": functools.partial(attention_resnet, depth, "none") for depth in PUBLISHED},
    "attention_resnet50": functools.partial(attention_resnet, 50),
    "eca_mobilenet_v2": functools.partial(attention_mobilenet_v2, "eca"),
    "se_mobilenet_v2": functools.partial(attention_mobilenet_v2, "se"),
    "mobilenet_v2": functools.partial(attention_mobilenet_v2, "none"),
    "eca_resnet20": functools.partial(attention_resnet20, "eca"),
    "se_resnet20": functools.partial(attention_resnet20, "se"),
    "resnet20": functools.partial(attention_resnet20, "none"),
    "attention_resnet20": attention_resnet20,
}

_CIFAR = ((3, 32, 32), 10)
_IMAGENET = ((3, 224, 224), 1000)
# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    name: _CIFAR if name.endswith("resnet20") else _IMAGENET for name in MODELS
}
