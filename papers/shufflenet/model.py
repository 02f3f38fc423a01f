"""ShuffleNet: pointwise group convolutions and channel shuffle (Zhang et al., CVPR 2018).

The ShuffleNet unit (section 3.2, figure 2) is a bottleneck whose 1x1 convolutions are grouped; the shuffle (section
3.1, figure 1) between them lets the groups exchange channels. The network (section 3.3, table 1) stacks the units. The
other units of table 4 are in units.py.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from shared.layers.conv import conv_bn
from shared.layers.shuffle import ChannelShuffle
from shared.layers.squeeze_excite import SqueezeExcite

# Table 1: the output channels of stage 2 by the number of groups; each later stage has twice as many.
STAGE_2 = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
# Table 1: units of stages 2, 3 and 4, the one of stride 2 included.
REPEATS = "4-8-4"
STEM = 24
BOTTLENECK = 4  # a unit's output channels over those of its bottleneck (section 3.2)
SE_REDUCTION = 16  # of the networks with squeeze-and-excitation in table 5, which do not state it

Permutation = Literal["paper", "code"]


def shuffle_layer(channels: int, groups: int, permutation: Permutation = "paper") -> ChannelShuffle:
    """The channel shuffle of (N, channels, H, W), with n = channels / groups channels in a group.

    "paper" reads the channels as (g, n) and transposes (section 3.1); "code" reads them as (n, g) and transposes, as
    the official code does, which undoes the former. The networks are equal up to the order of channels within groups
    where both hand on as many channels from any group to any other: where g divides n, and for three groups always.
    Otherwise they join other groups, as with eight groups at 1x, where n = 12 in stage 2.

    Raises:
        ValueError: `groups` does not divide `channels`, or there is no such permutation.
    """
    if channels % groups:
        raise ValueError(f"channels must be a multiple of the {groups} groups, not {channels}")
    if permutation not in ("paper", "code"):
        raise ValueError(f"permutation must be paper or code, not {permutation!r}")
    return ChannelShuffle(channels, groups if permutation == "paper" else channels // groups)


class ShuffleUnit(nn.Module):
    """Figure 2 (b), and (c) with a stride of 2; (N, in, H, W) to (N, out, ceil(H / stride), ceil(W / stride)).

    The branch is a 1x1 group convolution, the shuffle, a 3x3 depthwise convolution without activation and a 1x1 group
    convolution. With a stride of 1 it is added to the input; with 2 it is concatenated to the input's 3x3 average, so
    that it has out - in channels itself. ReLU follows.

    Args:
        in_channels: in; equal to out with a stride of 1.
        out_channels: out; a quarter of it is the bottleneck.
        groups: of the 1x1 convolutions.
        stride: 1 or 2.
        shuffle: whether the channels are shuffled behind the first convolution.
        permutation: which shuffle, see `shuffle_layer`.
        first_grouped: whether the first convolution is grouped; that of the network's first unit is not.
        se: squeeze-and-excitation at the branch's end, or with a stride of 2 of what is concatenated.

    Raises:
        ValueError: the stride is not 1 or 2, it is 1 and the channels differ, or the groups do not divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int,
        stride: int = 1,
        *,
        shuffle: bool = True,
        permutation: Permutation = "paper",
        first_grouped: bool = True,
        se: bool = False,
    ) -> None:
        super().__init__()
        if stride not in (1, 2) or (stride == 1 and in_channels != out_channels):
            raise ValueError(f"stride must be 2, or 1 with as many channels out as in, not {stride}")
        middle, last = out_channels // BOTTLENECK, out_channels - in_channels * (stride == 2)
        if middle % groups or last % groups or (first_grouped and in_channels % groups):
            raise ValueError(
                f"groups must divide the channels, {in_channels} in, {middle} between and {last} out; {groups} does not"
            )
        self.reduce = conv_bn(in_channels, middle, 1, groups=groups if first_grouped else 1, act=nn.ReLU)
        self.shuffle = shuffle_layer(middle, groups, permutation) if shuffle and groups > 1 else nn.Identity()
        self.spatial = conv_bn(middle, middle, 3, stride, groups=middle, act=None)
        self.expand = conv_bn(middle, last, 1, groups=groups, act=None)
        squeezed = max(1, out_channels // SE_REDUCTION)
        self.se = SqueezeExcite(out_channels, squeezed, torch.sigmoid) if se else nn.Identity()
        self.shortcut = nn.AvgPool2d(3, 2, 1) if stride == 2 else nn.Identity()
        self.concatenates = stride == 2
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """The unit's output, at least 0."""
        branch = self.expand(self.spatial(self.shuffle(self.reduce(x))))
        shortcut = self.shortcut(x)
        if self.concatenates:
            return self.relu(self.se(torch.cat([shortcut, branch], 1)))
        return self.relu(shortcut + self.se(branch))


def stage_channels(groups: int, scale: float) -> tuple[int, int, int]:
    """Output channels of stages 2, 3 and 4: table 1's, with stage 2 scaled to a multiple of 4 g and then doubled twice.

    The paper says only that the filters are multiplied; g must divide a quarter of them, and for 0.5x and g = 4 this
    rule gives the 576 channels that section 4.2 names, where half of table 1 would be 544.

    Raises:
        ValueError: table 1 has no such number of groups, or the scale is not positive.
    """
    if groups not in STAGE_2:
        raise ValueError(f"groups must be one of {', '.join(map(str, STAGE_2))}, not {groups}")
    if scale <= 0:
        raise ValueError(f"scale must be positive, not {scale:g}")
    first = max(1, math.floor(STAGE_2[groups] * scale / (BOTTLENECK * groups) + 0.5)) * BOTTLENECK * groups
    return first, 2 * first, 4 * first


def stem_channels(groups: int, scale: float) -> int:
    """Channels of the first convolution: 24 for each whole 1x, half of it below 1x, up to a multiple of g.

    These are the stems of the official code (12, 16, 24, 24 and 48 for 0.5x with g = 3 and 8, 1x, 1.5x and 2x), and at
    0.25x a stem of 12 is what the paper's 13 M multiply-adds need.
    """
    wanted = STEM * math.floor(scale) if scale >= 1 else STEM // 2
    return -(-wanted // groups) * groups


class ShuffleNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes); table 1.

    Weights start as in the ResNet code whose settings the paper takes over (section 4): normal, by the fan out.

    Args:
        groups: g of the 1x1 convolutions: 1, 2, 3, 4 or 8. One is the Xception-like network of table 4.
        scale: factor on every number of channels; see `stage_channels`.
        shuffle: whether channels are shuffled; without is the other half of table 3.
        permutation: which shuffle, see `shuffle_layer`.
        se: squeeze-and-excitation in every unit (table 5), with a reduction of 16.
        repeats: units of each stage, joined by hyphens.
        stem: channels of the first convolution; those of `stem_channels` when 0.
        stem_stride: of the first convolution and the pooling behind it together: 4, or for the small images that the
            paper has none of 2 (no pooling) or 1 (nor a stride of the convolution).
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: an argument is none of these, or the groups do not divide the stem.
    """

    def __init__(
        self,
        groups: int = 3,
        scale: float = 1.0,
        shuffle: bool = True,
        *,
        permutation: Permutation = "paper",
        se: bool = False,
        repeats: str = REPEATS,
        stem: int = 0,
        stem_stride: int = 4,
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if stem_stride not in (1, 2, 4):
            raise ValueError(f"stem_stride must be 1, 2 or 4, not {stem_stride}")
        if stem < 0:
            raise ValueError(f"stem must be a number of channels, or 0 for the usual one, not {stem}")
        widths = stage_channels(groups, scale)
        counts = parse_repeats(repeats)
        channels = stem or stem_channels(groups, scale)
        self.stem = conv_bn(in_channels, channels, 3, min(stem_stride, 2), act=nn.ReLU)
        self.stem_pool = nn.MaxPool2d(3, 2, 1) if stem_stride == 4 else nn.Identity()
        stages = []
        for stage, (width, count) in enumerate(zip(widths, counts, strict=True)):
            units = []
            for number in range(count):
                units.append(
                    ShuffleUnit(
                        channels, width, groups, 1 if number else 2, shuffle=shuffle, permutation=permutation,
                        first_grouped=bool(stage or number), se=se,
                    )
                )  # fmt: skip
                channels = width
            stages.append(nn.Sequential(*units))
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes, bias=False)
        draw_weights(self)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the stem and the three stages, "stage1" to "stage4", at strides 4, 8, 16 and 32."""
        x = self.stem_pool(self.stem(images))
        taps = {"stage1": x}
        for number, stage in enumerate(self.stages, start=2):
            x = taps[f"stage{number}"] = stage(x)
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)["stage4"]).flatten(1))


def parse_repeats(repeats: str) -> list[int]:
    """The units of stages 2, 3 and 4, of text such as "4-8-4".

    Raises:
        ValueError: it is not three numbers of at least 1.
    """
    parts = repeats.split("-")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise ValueError(f"repeats must be three numbers of at least 1 such as {REPEATS}, not {repeats!r}")
    return [int(part) for part in parts]


def draw_weights(network: nn.Module) -> None:
    """Convolutions from a normal distribution by their fan out (He et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
