"""A ConvNet for the 2020s (Liu et al., CVPR 2022)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.convnext.model import ISOTROPIC, SIZES, convnext, convnext_isotropic
from papers.convnext.roadmap import roadmap

MODELS: dict[str, Callable[..., nn.Module]] = {
    **{f"convnext_{size}": functools.partial(convnext, size) for size in SIZES},
    **{f"convnext_isotropic_{size}": functools.partial(convnext_isotropic, size) for size in ISOTROPIC},
    "roadmap": roadmap,
}

# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = dict.fromkeys(MODELS, ((3, 224, 224), 1000))
