"""Wide residual networks (Zagoruyko and Komodakis, BMVC 2016).

A residual network can be made deeper or wider. Section 2 keeps the pre-activation block of He et al. (2016) and varies
three numbers: l, the convolutions of a block (2.2); k, the factor on its channels (2.3); and N, the blocks of a group.
WRN-n-k has n = 6 N + 4 convolutions when l = 2, the three 1x1 shortcuts among them (table 1). The first half of this
file is that network for small images, the second the ones for ImageNet (section 3, tables 7 and 8), which widen the
original ResNet instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from shared.baselines.resnet import STAGE_WIDTHS, ResNet

STEM = 16  # filters of the first convolution, whatever the width
GROUPS = (16, 32, 64)  # channels at k = 1
KERNELS = (1, 3)

NormScale = Literal["ones", "uniform"]


class WideBlock(nn.Module):
    """B(M) of section 2.2: a convolution for each kernel size in M, normalisation and ReLU in front of each.

    Where the shape changes, the shortcut is a plain 1x1 convolution, and it reads what the first normalisation and ReLU
    gave, as the residual branch does (official code). The stride is that of the first convolution; all convolutions but
    the first keep the channels. With `dropout`, that share of the last convolution's inputs is dropped in training
    (section 2.4).
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, kernels: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        first, *others = kernels
        self.act = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        self.body = nn.Sequential(_conv(in_channels, out_channels, first, stride))
        for number, kernel in enumerate(others, start=2):
            self.body.extend([nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)])
            if dropout and number == len(kernels):
                self.body.append(nn.Dropout(dropout))
            self.body.append(_conv(out_channels, out_channels, kernel))
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else _conv(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        active = self.act(x)
        return self.body(active) + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes): a convolution, three groups of `blocks`, the classifier (table 1).

    Args:
        blocks: N, in each group.
        width: k, the factor on the channels of the groups; the first convolution has 16 filters at any k.
        kernels: M, the kernel sizes of a block.
        dropout: the share that is dropped in each residual branch.
        norm_scale: how the scales of the normalisations begin: at one, or as Torch 7 and the official code draw them,
            uniform between 0 and 1.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the width leaves a group without channels, or the dropout is not from 0 up to 1.
    """

    def __init__(
        self,
        blocks: int,
        width: float,
        kernels: Sequence[int],
        *,
        dropout: float = 0.0,
        norm_scale: NormScale = "ones",
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout is a share from 0 up to 1, not {dropout:g}")
        widths = [int(channels * width) for channels in GROUPS]
        if widths[0] < 1:
            raise ValueError(f"a width of {width:g} leaves no channel of {GROUPS[0]}; take at least {1 / GROUPS[0]:g}")
        self.stem = _conv(in_channels, STEM, 3)
        groups, channels = [], STEM
        for number, out_channels in enumerate(widths):
            group = nn.Sequential()
            for place in range(blocks):
                group.append(WideBlock(channels, out_channels, 2 if number and place == 0 else 1, kernels, dropout))
                channels = out_channels
            groups.append(group)
        self.groups = nn.Sequential(*groups)
        self.act = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        _initialise(self, norm_scale)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.act(self.groups(self.stem(images)))).flatten(1))


def wrn(
    depth: int = 28,
    width: float = 10,
    dropout: float = 0.0,
    norm_scale: NormScale = "ones",
    classes: int = 10,
    in_channels: int = 3,
) -> WideResNet:
    """WRN-`depth`-`width` with blocks B(3,3), for 32x32 images (table 1; tables 4, 5, 6 and 9).

    Raises:
        ValueError: the depth is not 6 N + 4, or as `WideResNet`.
    """
    return WideResNet(
        _blocks(depth, 2), width, (3, 3),
        dropout=dropout, norm_scale=norm_scale, classes=classes, in_channels=in_channels,
    )  # fmt: skip


def wrn_block(
    block: str = "3-3",
    depth: int = 40,
    width: float = 2,
    norm_scale: NormScale = "ones",
    classes: int = 10,
    in_channels: int = 3,
) -> WideResNet:
    """A network of blocks B(M), the kernel sizes M joined by hyphens: "1-3-1", "3-1" (table 2).

    `depth` is that table's label, (depth - 4) / 6 blocks a group whatever the block: only so are the printed parameters
    met, although blocks of three convolutions then make a deeper network than the label says.

    Raises:
        ValueError: the block is not made of the sizes 1 and 3, the depth is not 6 N + 4, or as `WideResNet`.
    """
    parts = str(block).split("-")
    if not set(parts) <= {str(kernel) for kernel in KERNELS}:
        raise ValueError(f"block is {block!r}; it is kernel sizes of 1 or 3, joined by hyphens, such as 3-1-3")
    kernels = tuple(map(int, parts))
    return WideResNet(
        _blocks(depth, 2), width, kernels, norm_scale=norm_scale, classes=classes, in_channels=in_channels
    )


def wrn_deepening(
    deepening: int = 2,
    depth: int = 40,
    width: float = 2,
    norm_scale: NormScale = "ones",
    classes: int = 10,
    in_channels: int = 3,
) -> WideResNet:
    """The deepening factor l: blocks of l 3x3 convolutions, as many convolutions in all as WRN-`depth` has (table 3).

    Raises:
        ValueError: the depth is not 3 l N + 4, or as `WideResNet`.
    """
    return WideResNet(
        _blocks(depth, deepening), width, (3,) * deepening,
        norm_scale=norm_scale, classes=classes, in_channels=in_channels,
    )  # fmt: skip


def wrn18_imagenet(width: float = 1.0, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """WRN-18, ResNet-18 with `width` times the channels behind its stem (table 7), for 224x224 images."""
    return ResNet(18, width=width, stem=STAGE_WIDTHS[0], classes=classes, in_channels=in_channels)


def wrn34_imagenet(width: float = 1.0, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """WRN-34, ResNet-34 with `width` times the channels behind its stem (table 7), for 224x224 images."""
    return ResNet(34, width=width, stem=STAGE_WIDTHS[0], classes=classes, in_channels=in_channels)


def wrn50_bottleneck(width: int = 2, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """WRN-50-`width`-bottleneck (table 8), for 224x224 images.

    ResNet-50 whose first two convolutions of each block have `width` times the channels; what a block gives stays 256
    to 2048 wide. The stride stands at the 3x3 convolution, as in fb.resnet.torch, with which the paper trained.
    """
    return ResNet(50, base_width=width * STAGE_WIDTHS[0], classes=classes, in_channels=in_channels)


def _blocks(depth: int, convolutions: int) -> int:
    """N, the blocks of a group, when each has so many convolutions; ValueError when the depth makes no whole number."""
    if convolutions < 1:
        raise ValueError(f"a block needs a convolution, not {convolutions}")
    blocks, rest = divmod(depth - 4, 3 * convolutions)
    if rest or blocks < 1:
        raise ValueError(f"the depth must be {3 * convolutions} N + 4, such as {12 * convolutions + 4}, not {depth}")
    return blocks


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)


def _initialise(network: nn.Module, norm_scale: NormScale) -> None:
    """Section 3, as in the official code: He et al.'s normal by fan-in; the classifier as Torch draws it, no bias."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(layer, nn.BatchNorm2d) and norm_scale == "uniform":
            nn.init.uniform_(layer.weight)
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
