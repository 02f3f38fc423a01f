"""Res2Net: scales inside a bottleneck (Gao et al., IEEE TPAMI 2021).

A bottleneck's 3x3 convolution becomes a ladder of small ones. Its input is split into s groups of channels ("scale"),
and each group but one is convolved after the output of the group before it was added (section 3.1, equation 1), so that
the groups of one layer see neighbourhoods of 1, 3, 5, ... pixels. With s = 1 nothing is left of it but the bottleneck
of ResNet, or with cardinality that of ResNeXt: the networks that the paper compares with are built here too. The first
part of this file is the ladder, the second the block, the third the networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from shared.baselines.resnet import BLOCKS, STAGE_WIDTHS
from shared.layers.conv import conv_bn
from shared.layers.squeeze_excite import SqueezeExcite

# What stands in place of the ladder in the first block of a stage, where the resolution may change:
# - "pool": the released code. No additions: each group has a convolution of its own, the last one average pooling.
# - "group": one 3x3 convolution with a group for every group of the ladder; the printed sizes of table 4 are these.
# - "text": the paper's text, which makes no exception. Groups of two resolutions cannot be added, so that the stride
#   stands at the block's first 1x1 convolution, as in the original ResNet.
First = Literal["pool", "group", "text"]
DEPTHS = {depth: BLOCKS[depth] for depth in (50, 101, 152)} | {200: (3, 12, 48, 3)}
CIFAR_OUTPUTS, CIFAR_LAYERS = STAGE_WIDTHS[:3], 9  # layers of a CIFAR network for one block in each of its stages
REDUCTION = 16  # of squeeze-and-excitation


@dataclass(frozen=True)
class Splits:
    """The inside of a bottleneck: `scale` groups (s) of `cardinality` times `width` (c w) channels.

    Raises:
        ValueError: one of the three is less than 1.
    """

    width: int
    scale: int
    cardinality: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")

    @property
    def each(self) -> int:
        """Channels of one group."""
        return self.cardinality * self.width

    @property
    def channels(self) -> int:
        """Channels of all groups."""
        return self.scale * self.each

    def wider(self, factor: int) -> Splits:
        """As many groups of `factor` times as many channels: what a later stage has."""
        return Splits(factor * self.width, self.scale, self.cardinality)


class Ladder(nn.Module):
    """Equation 1: (N, C, H, W) to the same shape, C = `splits.channels`.

    The paper passes its first group on as it is, and convolves the others; the released weights pass on their last.
    That is a permutation of channels, which the 1x1 convolutions around it absorb. Ours is the order of the weights:
    y_1 = K_1(x_1); y_i = K_i(x_i + y_{i-1}) for 1 < i < s; y_s = x_s.
    """

    def __init__(self, splits: Splits) -> None:
        super().__init__()
        self.convs = _convs(splits, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        *groups, passed = x.chunk(len(self.convs) + 1, 1)
        y = self.convs[0](groups[0])
        outputs = [y]
        for conv, group in zip(self.convs[1:], groups[1:], strict=True):
            y = conv(group + y)
            outputs.append(y)
        return torch.cat([*outputs, passed], 1)


class Rungs(nn.Module):
    """The ladder without its additions: (N, C, H, W) to (N, C, H / stride, W / stride), the last group by pooling."""

    def __init__(self, splits: Splits, stride: int) -> None:
        super().__init__()
        self.convs = _convs(splits, stride)
        self.pool = nn.AvgPool2d(3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        """At the resolution that the stride leaves."""
        *groups, last = x.chunk(len(self.convs) + 1, 1)
        return torch.cat([*(conv(group) for conv, group in zip(self.convs, groups, strict=True)), self.pool(last)], 1)


def _convs(splits: Splits, stride: int) -> nn.ModuleList:
    return nn.ModuleList(
        conv_bn(splits.each, splits.each, 3, stride, groups=splits.cardinality, act=nn.ReLU)
        for _ in range(splits.scale - 1)
    )


def branch(
    in_channels: int,
    out_channels: int,
    splits: Splits,
    *,
    stride: int = 1,
    first: First | None = None,
    se: bool = False,
) -> nn.Sequential:
    """The residual branch of a bottleneck: 1x1, the ladder or what stands for it, 1x1, squeeze-and-excitation.

    (N, in, H, W) to (N, out, H / stride, W / stride).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        splits: the groups of the ladder; with a scale of 1 a plain 3x3 convolution is all there is.
        stride: needs a scale of 1, or a `first`.
        first: what the first block of a stage has in place of the ladder; None in the others.
        se: with squeeze-and-excitation, right before the addition (section 3.3).
    """
    early = stride if first == "text" and splits.scale > 1 else 1
    groups = splits.cardinality * splits.scale
    if splits.scale == 1 or first == "group":
        middle: nn.Module = conv_bn(splits.channels, splits.channels, 3, stride, groups=groups, act=nn.ReLU)
    elif first == "pool":
        middle = Rungs(splits, stride)
    else:
        middle = Ladder(splits)
    layers = nn.Sequential(
        conv_bn(in_channels, splits.channels, 1, early, act=nn.ReLU),
        middle,
        conv_bn(splits.channels, out_channels, 1, act=None),
    )
    if se:
        layers.append(SqueezeExcite(out_channels, out_channels // REDUCTION, torch.sigmoid))
    return layers


class Bottleneck(nn.Module):
    """relu(branch(x) + shortcut(x)): (N, in, H, W) to (N, out, H / stride, W / stride).

    `pooled` shortcuts average before their 1x1 convolution, so that no pixel is left out (ResNet-D).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, body: nn.Module, *, pooled: bool) -> None:
        super().__init__()
        self.body = body
        if stride == 1 and in_channels == out_channels:
            self.shortcut: nn.Module = nn.Identity()
        elif pooled:
            pool = nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
            self.shortcut = nn.Sequential(pool, *conv_bn(in_channels, out_channels, 1, act=None))
        else:
            self.shortcut = conv_bn(in_channels, out_channels, 1, stride, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """At the resolution that the stride leaves."""
        return self.relu(self.body(x) + self.shortcut(x))


class Res2Net(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Args:
        blocks: in each stage.
        splits: of the first stage; a later one has twice the width of the one before.
        stem: "imagenet", a 7x7 convolution and pooling, both with stride 2; "v1b", three 3x3 convolutions in place of
            the 7x7, and pooled shortcuts; "cifar", one 3x3 convolution and no stride.
        base: a quarter of the first stage's outputs; a later stage has twice as many as the one before.
        first: of every stage, see `First`.
        se: with squeeze-and-excitation in every block.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: `first` or `base` is not one of these.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        splits: Splits,
        *,
        stem: Literal["imagenet", "v1b", "cifar"],
        base: int = STAGE_WIDTHS[0],
        first: First = "pool",
        se: bool = False,
        classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        if first not in get_args(First):
            raise ValueError(f"first must be one of {', '.join(get_args(First))}, not {first!r}")
        if base < 1:
            raise ValueError(f"base must be at least 1, not {base}")
        self.stem = _stem(stem, in_channels, base)
        self.stem_pool = nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, 2, 1)
        channels, stages = base, []
        for stage, count in enumerate(blocks):
            stride, outputs, inside = 2 if stage else 1, 4 * base * 2**stage, splits.wider(2**stage)
            made = []
            for number in range(count):
                stride, entry = (stride, first) if number == 0 else (1, None)
                body = branch(channels, outputs, inside, stride=stride, first=entry, se=se)
                made.append(Bottleneck(channels, outputs, stride, body, pooled=stem == "v1b"))
                channels = outputs
            stages.append(nn.Sequential(*made))
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the stages, named "stage1", "stage2" and so on."""
        x = self.stem_pool(self.stem(images))
        taps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = taps[f"stage{number}"] = stage(x)
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)[f"stage{len(self.stages)}"]).flatten(1))


def _stem(kind: str, in_channels: int, base: int) -> nn.Sequential:
    if kind == "cifar":
        return conv_bn(in_channels, base, 3, act=nn.ReLU)
    if kind == "imagenet":
        return conv_bn(in_channels, base, 7, 2, act=nn.ReLU)
    half = base // 2
    sizes = ((in_channels, half, 2), (half, half, 1), (half, base, 1))
    return nn.Sequential(*(conv_bn(one, other, 3, stride, act=nn.ReLU) for one, other, stride in sizes))


def initialise(network: nn.Module) -> None:
    """Convolutions as He et al. (2015) draw them; normalisation begins at 1 and 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def res2net(
    depth: int,
    width: int = 26,
    scale: int = 4,
    cardinality: int = 1,
    se: bool = False,
    first: First = "pool",
    v1b: bool = False,
    classes: int = 1000,
    in_channels: int = 3,
) -> nn.Module:
    """Res2Net for ImageNet (section 4.2): images (N, in_channels, H, W) to logits (N, classes).

    Args:
        depth: 50, 101, 152 or 200.
        width: w, channels of one group and one unit of cardinality in the first stage ("26w").
        scale: s ("4s"); 1 is ResNet, or ResNeXt.
        cardinality: c, groups of every 3x3 convolution; above 1 the network is a Res2NeXt.
        se: with squeeze-and-excitation.
        first: what the first block of every stage is, see `First`.
        v1b: with the stem and the shortcuts of ResNet-D.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no network of that depth, or a number is below 1.
    """
    if depth not in DEPTHS:
        raise ValueError(f"the depth must be one of {', '.join(map(str, DEPTHS))}, not {depth}")
    return Res2Net(
        DEPTHS[depth], Splits(width, scale, cardinality), stem="v1b" if v1b else "imagenet", first=first, se=se,
        classes=classes, in_channels=in_channels,
    )  # fmt: skip


def res2next29(
    cardinality: int = 6,
    width: int = 24,
    scale: int = 4,
    depth: int = 29,
    se: bool = False,
    first: First = "group",
    base: int = 64,
    classes: int = 100,
    in_channels: int = 3,
) -> nn.Module:
    """Res2NeXt for CIFAR (section 4.3): images (N, in_channels, 32, 32) to logits (N, classes).

    Args:
        cardinality: c.
        width: w, of the first stage.
        scale: s; 1 is ResNeXt.
        depth: 9 n + 2 for n blocks in each of the three stages (figure 5).
        se: with squeeze-and-excitation.
        first: what the first block of every stage is, see `First`.
        base: a quarter of the first stage's outputs; 64 in the paper, less for machines that cannot train it.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the depth is not 9 n + 2, or a number is below 1.
    """
    blocks, rest = divmod(depth - 2, CIFAR_LAYERS)
    if rest or blocks < 1:
        raise ValueError(f"the depth must be 9 n + 2, such as 29 or 56, not {depth}")
    return Res2Net(
        [blocks] * len(CIFAR_OUTPUTS), Splits(width, scale, cardinality), stem="cifar", base=base, first=first, se=se,
        classes=classes, in_channels=in_channels,
    )  # fmt: skip
