"""Rethinking the Value of Network Pruning (Liu et al., ICLR 2019)."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn

from papers.network_slimming.method import Slimming
from papers.network_slimming.model import densenet, preact_resnet, vgg19, vgg_a
from papers.rethinking_pruning.method import ByGate, ByReconstruction, Gates, SoftFilters
from papers.rethinking_pruning.model import (
    REGRESSION_5X,
    THINET_CONV,
    THINET_TINY,
    cifar_resnet_pruned,
    densenet_bc100,
    preact_resnet110,
    resnet34_pruned,
    resnet50_2x,
    sss_resnet,
    thinet_resnet50,
    vgg16,
    vgg16_a,
)
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import CifarResNet
from shared.baselines.vgg_imagenet import ImageNetVGG
from shared.training.method import Method
from shared.training.pruning import Prune

_ON_CIFAR: dict[str, Callable[..., nn.Module]] = {
    "vgg16": vgg16,
    "vgg16_a": vgg16_a,
    "vgg19": vgg19,
    **{f"resnet{depth}": functools.partial(CifarResNet, depth) for depth in (20, 32, 44, 56, 110)},
    **{
        rule: functools.partial(cifar_resnet_pruned, rule)
        for rule in ("resnet56_a", "resnet56_b", "resnet110_a", "resnet110_b")
    },
    "preact_resnet164": functools.partial(preact_resnet, 164),
    "preact_resnet110": preact_resnet110,
    "densenet40": functools.partial(densenet, 40, stem=24),
    "densenet_bc100": densenet_bc100,
}

_ON_IMAGENET: dict[str, Callable[..., nn.Module]] = {
    "resnet34": functools.partial(ResNet, 34),
    "resnet34_a": functools.partial(resnet34_pruned, "resnet34_a"),
    "resnet34_b": functools.partial(resnet34_pruned, "resnet34_b"),
    "resnet50": functools.partial(ResNet, 50),
    "vgg11": vgg_a,
    # The base of ThiNet and of regression-based pruning has no norms; that of unstructured pruning has.
    "vgg16_imagenet": functools.partial(ImageNetVGG, 16, norm=False, head="dropout"),
    "vgg16_bn_imagenet": functools.partial(ImageNetVGG, 16, head="dropout"),
    "vgg_conv": functools.partial(ImageNetVGG, 16, norm=False, head="dropout", widths=THINET_CONV),
    "vgg_gap": functools.partial(ImageNetVGG, 16, norm=False, head="pool", widths=THINET_CONV),
    "vgg_tiny": functools.partial(ImageNetVGG, 16, norm=False, head="pool", widths=THINET_TINY),
    "vgg_5x": functools.partial(ImageNetVGG, 16, norm=False, head="dropout", widths=REGRESSION_5X),
    **{f"thinet{percent}": functools.partial(thinet_resnet50, percent / 100) for percent in (30, 50, 70)},
    "resnet50_2x": resnet50_2x,
    # The blocks that the released README of this paper names.
    "sss_resnet26": functools.partial(sss_resnet, blocks="0-2-5-1f"),
    "sss_resnet32": functools.partial(sss_resnet, blocks="1-4f-4f-1f"),
    "sss_resnet41": functools.partial(sss_resnet, blocks="0-4f-6f-3f"),
}

MODELS: dict[str, Callable[..., nn.Module]] = _ON_CIFAR | _ON_IMAGENET

# The input (C, H, W) and the classes that each model was made for.
DEFAULTS: dict[str, tuple[tuple[int, int, int], int]] = {
    name: ((3, 32, 32), 10) if name in _ON_CIFAR else ((3, 224, 224), 1000) for name in MODELS
}

# What a recipe can name as its `method`, and what a `prune` can be `by` besides the core's rules.
METHODS: dict[str, type[Method]] = {"slimming": Slimming, "soft-filters": SoftFilters, "gates": Gates}
PRUNERS: dict[str, type[Prune]] = {
    "gate": ByGate, "thinet": ByReconstruction, "regression": ByReconstruction,
}  # fmt: skip
