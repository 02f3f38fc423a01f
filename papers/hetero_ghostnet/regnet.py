"""RegNetX (Radosavovic et al., CVPR 2020), the networks that G-Ghost stages are put into.

Twelve sizes, from 200 MF to 32 GF; depths, widths and group widths are those of the RegNet model zoo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from shared.layers.conv import conv_bn


@dataclass(frozen=True)
class Size:
    """Blocks and channels of the four stages, and the channels of a group of the 3x3 convolutions."""

    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    group_width: int


# By timm's names: "032" has 3.2 billion multiply-adds.
SIZES = {
    "002": Size((1, 1, 4, 7), (24, 56, 152, 368), 8),
    "004": Size((1, 2, 7, 12), (32, 64, 160, 384), 16),
    "006": Size((1, 3, 5, 7), (48, 96, 240, 528), 24),
    "008": Size((1, 3, 7, 5), (64, 128, 288, 672), 16),
    "016": Size((2, 4, 10, 2), (72, 168, 408, 912), 24),
    "032": Size((2, 6, 15, 2), (96, 192, 432, 1008), 48),
    "040": Size((2, 5, 14, 2), (80, 240, 560, 1360), 40),
    "064": Size((2, 4, 10, 1), (168, 392, 784, 1624), 56),
    "080": Size((2, 5, 15, 1), (80, 240, 720, 1920), 120),
    "120": Size((2, 5, 11, 1), (224, 448, 896, 2240), 112),
    "160": Size((2, 6, 13, 1), (256, 512, 896, 2048), 128),
    "320": Size((2, 7, 13, 1), (336, 672, 1344, 2520), 168),
}
STEM = 32


def whole_groups(channels: float, group: int) -> int:
    """The multiple of `group` that is nearest to `channels`; halves round up."""
    return int(channels / group + 0.5) * group


def scaled(size: Size, width: float) -> Size:
    """A size with `width` times the channels: of a group, rounded, and of a stage, to the nearest multiple of a group.

    A stage that is narrower than a group has one group, and its channels are only rounded.

    Raises:
        ValueError: `width` is not positive.
    """
    if width <= 0:
        raise ValueError(f"the width must be positive, not {width}; 1 is the published network")
    if width == 1:
        return size
    group = max(1, round(size.group_width * width))
    units = [group if channels >= size.group_width else 1 for channels in size.widths]
    first, second, third, fourth = (
        max(unit, whole_groups(channels * width, unit)) for unit, channels in zip(units, size.widths, strict=True)
    )
    return Size(size.depths, (first, second, third, fourth), group)


class Block(nn.Module):
    """An X block: 1x1, grouped 3x3 and 1x1 convolution with a shortcut, of one width (bottleneck ratio 1).

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the 3x3 convolution and of the shortcut's.
        group_width: channels of a group; all are one group where there are fewer.

    Raises:
        ValueError: the channels are no whole number of groups.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, group_width: int) -> None:
        super().__init__()
        group = min(out_channels, group_width)
        if out_channels % group:
            raise ValueError(f"out_channels must be a multiple of the group width {group}, not {out_channels}")
        self.body = nn.Sequential(
            conv_bn(in_channels, out_channels, 1, act=nn.ReLU),
            conv_bn(out_channels, out_channels, 3, stride, groups=out_channels // group, act=nn.ReLU),
            conv_bn(out_channels, out_channels, 1, act=None),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else conv_bn(in_channels, out_channels, 1, stride, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        return self.relu(self.body(x) + self.shortcut(x))


class MakeStage(Protocol):
    """Makes stage `number`, from 1: (N, in, H, W) to (N, out, H / 2, W / 2) in so many blocks."""

    def __call__(self, number: int, in_channels: int, out_channels: int, blocks: int, group_width: int) -> nn.Module:
        """The stage."""


def plain_stage(number: int, in_channels: int, out_channels: int, blocks: int, group_width: int) -> nn.Module:
    """RegNet's own: the first block halves the resolution."""
    return nn.Sequential(
        Block(in_channels, out_channels, 2, group_width),
        *(Block(out_channels, out_channels, 1, group_width) for _ in range(blocks - 1)),
    )


class RegNetX(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Args:
        size: a name of SIZES.
        stage: makes the stages.
        width: factor on the channels of the stages; see `scaled`.
        stem_stride: 2, or 1 for images of about 32 pixels, which five halvings would leave with a single place.
        dropout: before the classifier.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: an unknown size, a width that is not positive, or a stride of the stem other than 1 and 2.
    """

    def __init__(
        self,
        size: str,
        stage: MakeStage = plain_stage,
        *,
        width: float = 1.0,
        stem_stride: int = 2,
        dropout: float = 0.0,
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, not {size}")
        if stem_stride not in (1, 2):
            raise ValueError(f"stem_stride must be 1 or 2, not {stem_stride}")
        made = scaled(SIZES[size], width)
        self.stem = conv_bn(in_channels, STEM, 3, stem_stride, act=nn.ReLU)
        channels = (STEM, *made.widths)
        self.stages = nn.Sequential(
            *(
                stage(number, channels[number - 1], channels[number], made.depths[number - 1], made.group_width)
                for number in range(1, 5)
            )
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.dropout(self.pool(self.stages(self.stem(images))).flatten(1)))


def regnetx(
    size: str,
    width: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.0,
    classes: int = 1000,
    in_channels: int = 3,
) -> RegNetX:
    """RegNetX of a size of SIZES; for the arguments see `RegNetX`."""
    return RegNetX(
        size, width=width, stem_stride=stem_stride, dropout=dropout, classes=classes, in_channels=in_channels
    )
