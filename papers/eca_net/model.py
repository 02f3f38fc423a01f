"""ECA-Net: efficient channel attention (Wang et al., CVPR 2020).

Every attention module here is x * omega with omega = sigma(f(g(x))), where g is the mean over places (equation 1). They
differ in f alone, the map from a channel's mean to the weight of a channel: table 2 goes through these maps one by one,
and ends with a single one-dimensional convolution over the channels (section 3.2). The first part of this file is those
maps, the second the choice of the convolution's length (section 3.3), the third the networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.baselines.mobilenet_v2 import MobileNetV2
from shared.baselines.resnet import BASIC_DEPTHS, STAGE_WIDTHS, ResNet
from shared.baselines.resnet_cifar import WIDTHS, CifarResNet
from shared.layers import Attention


class ChannelAttention(nn.Module):
    """x * sigma(f(g(x))) (equation 1): (N, C, H, W) to the same shape.

    Args:
        mix: f, from means (N, C) to logits (N, C).
    """

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.mix = mix

    def weights(self, x: Tensor) -> Tensor:
        """omega, (N, C), each between 0 and 1."""
        return torch.sigmoid(self.mix(self.pool(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        return x * self.weights(x)[:, :, None, None]


class Neighbours(nn.Module):
    """ECA (equations 9 and 10): a 1-D convolution over the channels, k weights that all channels share, no bias.

    (N, C) to (N, C); beyond the first and the last channel stand zeros.

    Raises:
        ValueError: k is even, or less than 1.
    """

    def __init__(self, k: int) -> None:
        super().__init__()
        _require_odd(k)
        self.conv = nn.Conv1d(1, 1, k, padding=k // 2, bias=False)

    def forward(self, means: Tensor) -> Tensor:
        """(N, C) to (N, C)."""
        return self.conv(means[:, None])[:, 0]


class UnsharedNeighbours(nn.Module):
    """ECA-NS (equations 6 and 7): k weights for each channel, over the same neighbours as `Neighbours`.

    As in the official code, those of its k C weights that lie beyond the first and the last channel meet zeros.

    Raises:
        ValueError: k is even, or less than 1.
    """

    def __init__(self, channels: int, k: int) -> None:
        super().__init__()
        _require_odd(k)
        bound = 1 / math.sqrt(k)  # as PyTorch draws a convolution's
        self.weight = nn.Parameter(torch.empty(channels, k).uniform_(-bound, bound))

    def forward(self, means: Tensor) -> Tensor:
        """(N, C) to (N, C)."""
        half = self.weight.shape[1] // 2
        windows = functional.pad(means, (half, half)).unfold(1, self.weight.shape[1], 1)
        return (windows * self.weight).sum(2)


class GroupConvolution(nn.Module):
    """SE-GC (equation 5): a block-diagonal matrix, `groups` blocks of C / groups channels each; (N, C) to (N, C)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, 1, groups=groups, bias=False)

    def forward(self, means: Tensor) -> Tensor:
        """(N, C) to (N, C)."""
        return self.conv(means[:, :, None])[:, :, 0]


def squeeze_excite(channels: int, reduction: int) -> nn.Sequential:
    """SE (equation 2): two fully connected layers and ReLU between them; 2 C^2 / r weights, no biases."""
    reduced = max(channels // reduction, 1)
    return nn.Sequential(
        nn.Linear(channels, reduced, bias=False), nn.ReLU(inplace=True), nn.Linear(reduced, channels, bias=False)
    )


# Table 2: f by its name, from the channels C, the kernel size k of ECA and the reduction r of SE.
VARIANTS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "se": lambda channels, k, r: squeeze_excite(channels, r),
    "se-var1": lambda channels, k, r: nn.Identity(),
    "se-var2": lambda channels, k, r: UnsharedNeighbours(channels, 1),  # a weight for each channel
    "se-var3": lambda channels, k, r: nn.Linear(channels, channels, bias=False),
    "se-gc1": lambda channels, k, r: GroupConvolution(channels, 16),
    "se-gc2": lambda channels, k, r: GroupConvolution(channels, channels // 16),
    "se-gc3": lambda channels, k, r: GroupConvolution(channels, channels // 8),
    "eca-ns": lambda channels, k, r: UnsharedNeighbours(channels, k),
    "eca": lambda channels, k, r: Neighbours(k),
}


def kernel_size(channels: int, gamma: float = 2, b: float = 1) -> int:
    """Equation 12: the odd number nearest to |log2(C) / gamma + b / gamma|; midway between two, the larger.

    This is what the code of figure 3 computes too: the whole part, plus one if that is even.
    """
    t = abs((math.log2(channels) + b) / gamma)
    return 2 * math.floor(t / 2) + 1


# The kernel sizes that the authors trained with, a digit for each stage (official code, README).
PUBLISHED = {18: "3577", 34: "3357", 50: "3557", 101: "3357", 152: "3357"}


def kernel_sizes(kernel: str, channels: tuple[int, ...], planes: tuple[int, ...]) -> dict[int, int]:
    """k of each stage, by the stage's channels.

    Args:
        kernel: a digit for each stage; or "adaptive", equation 12 of the channels that the module sees, or
            "adaptive-planes", equation 12 of the stage's nominal width (64, 128, 256, 512 in a ResNet).
        channels: that the modules of each stage see.
        planes: nominal widths of the stages.

    Raises:
        ValueError: not one of these.
    """
    kernel = str(kernel)  # a command line gives a number
    if kernel in ("adaptive", "adaptive-planes"):
        return dict(zip(channels, map(kernel_size, channels if kernel == "adaptive" else planes), strict=True))
    if not kernel.isdecimal() or len(kernel) != len(channels):
        raise ValueError(f"the kernel must be adaptive, adaptive-planes or {len(channels)} digits, not {kernel}")
    return dict(zip(channels, map(int, kernel), strict=True))


def attention_module(name: str, k: Callable[[int], int], reduction: int) -> Attention | None:
    """What makes the module of that name in table 2, given channels; None for "none".

    Args:
        name: of `VARIANTS`, or "none".
        k: the kernel size of ECA, by the channels.
        reduction: r of SE.

    Raises:
        ValueError: no such module; the message lists them.
    """
    if name == "none":
        return None
    if name not in VARIANTS:
        raise ValueError(f"the attention must be none or one of {', '.join(VARIANTS)}, not {name}")
    return lambda channels: ChannelAttention(VARIANTS[name](channels, k(channels), reduction))


def attention_resnet(
    depth: int,
    attention: str = "eca",
    kernel: str = "published",
    reduction: int = 16,
    width: float = 1.0,
    classes: int = 1000,
    in_channels: int = 3,
) -> nn.Module:
    """ResNet-18/34/50/101/152 with a module after the last normalisation of each residual branch.

    `kernel` is "published", or as in `kernel_sizes`. Only the two forms of ECA have one, and only SE has a reduction.
    `width`, a factor on every channel count, is not in the paper.
    """
    planes = tuple(int(full * width) for full in STAGE_WIDTHS)
    channels = planes if depth in BASIC_DEPTHS else tuple(4 * plane for plane in planes)
    sizes = kernel_sizes(PUBLISHED[depth] if kernel == "published" else kernel, channels, planes)
    module = attention_module(attention, sizes.__getitem__, reduction)
    return ResNet(depth, attention=module, width=width, classes=classes, in_channels=in_channels)


def attention_resnet20(
    attention: str = "eca",
    kernel: str = "adaptive",
    reduction: int = 16,
    width: float = 1.0,
    classes: int = 10,
    in_channels: int = 3,
) -> nn.Module:
    """ResNet-20 for small images with the same modules: not in the paper, for machines that cannot train ImageNet."""
    channels = tuple(max(int(full * width), 1) for full in WIDTHS)
    sizes = kernel_sizes(kernel, channels, channels)
    module = attention_module(attention, sizes.__getitem__, reduction)
    return CifarResNet(20, attention=module, width=width, classes=classes, in_channels=in_channels)


def attention_mobilenet_v2(
    attention: str = "eca", kernel: str = "13", reduction: int = 8, classes: int = 1000, in_channels: int = 3
) -> nn.Module:
    """MobileNetV2 with a module at the end of each inverted residual, also of those without an addition.

    `kernel` is the size below 96 channels and the size from there on, or "adaptive". The printed parameters of SE imply
    a reduction of 8. The dropout rate and the initial weights are those of the official code.

    Raises:
        ValueError: another `kernel`.
    """
    kernel = str(kernel)  # a command line gives a number
    if kernel != "adaptive" and not (kernel.isdecimal() and len(kernel) == 2):
        raise ValueError(f"the kernel must be adaptive or two digits, not {kernel}")

    def k(channels: int) -> int:
        return kernel_size(channels) if kernel == "adaptive" else int(kernel[channels >= 96])

    network = MobileNetV2(attention=attention_module(attention, k, reduction), classes=classes, in_channels=in_channels)
    network.classifier[0] = nn.Dropout(0.25)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
        elif isinstance(layer, nn.Linear) and layer.bias is not None:  # the classifier
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return network


def _require_odd(k: int) -> None:
    if k < 1 or k % 2 == 0:
        raise ValueError(f"a kernel size must be odd, not {k}")
