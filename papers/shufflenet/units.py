"""The other units of table 4, in ShuffleNet's layout: VGG-like, ResNet and ResNeXt (section 4.2).

The Xception-like network of that table is ShuffleNet with one group. The paper states what a unit is and, at 38 M
multiply-adds alone, the channels of stage 4. The shortcut of a first unit is ours: the projection of the ResNet paper,
under which the printed channels of all three units give 38 M.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from papers.shufflenet.model import REPEATS, draw_weights, parse_repeats
from shared.layers.conv import conv_bn

CARDINALITY = 16  # of ResNeXt


def vgg(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Two 3x3 convolutions."""
    return nn.Sequential(
        conv_bn(in_channels, out_channels, 3, stride, act=nn.ReLU), conv_bn(out_channels, out_channels, 3, act=None)
    )


def resnet(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A bottleneck of a quarter of the channels."""
    return _bottleneck(in_channels, max(1, out_channels // 4), out_channels, stride, 1)


def resnext(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A bottleneck of half of the channels in 16 groups: of the largest multiple of 16 that is no more, at least 16."""
    middle = max(1, out_channels // 2 // CARDINALITY) * CARDINALITY
    return _bottleneck(in_channels, middle, out_channels, stride, CARDINALITY)


def _bottleneck(in_channels: int, middle: int, out_channels: int, stride: int, groups: int) -> nn.Module:
    return nn.Sequential(
        conv_bn(in_channels, middle, 1, act=nn.ReLU),
        conv_bn(middle, middle, 3, stride, groups=groups, act=nn.ReLU),
        conv_bn(middle, out_channels, 1, act=None),
    )


UNITS: dict[str, Callable[[int, int, int], nn.Module]] = {"vgg": vgg, "resnet": resnet, "resnext": resnext}


class Unit(nn.Module):
    """A branch and its shortcut; (N, in, H, W) to (N, out, ceil(H / stride), ceil(W / stride)).

    The VGG-like unit has no shortcut.
    """

    def __init__(self, unit: str, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.branch = UNITS[unit](in_channels, out_channels, stride)
        self.shortcut: nn.Module | None = None
        if unit != "vgg":
            same = stride == 1 and in_channels == out_channels
            self.shortcut = nn.Identity() if same else conv_bn(in_channels, out_channels, 1, stride, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """The unit's output, at least 0."""
        branch = self.branch(x)
        return self.relu(branch if self.shortcut is None else branch + self.shortcut(x))


class UnitNetwork(nn.Module):
    """ShuffleNet's layout (table 1) with another unit; (N, in_channels, H, W) to logits (N, classes).

    Args:
        unit: "vgg", "resnet" or "resnext".
        channels: of stage 4; stages 2 and 3 have a quarter and half of them.
        stem: channels of the first convolution.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no such unit, or stage 2 has no channel.
    """

    def __init__(
        self, unit: str = "resnet", channels: int = 192, stem: int = 12, *, classes: int = 1000, in_channels: int = 3
    ) -> None:
        super().__init__()
        if unit not in UNITS:
            raise ValueError(f"unit must be one of {', '.join(UNITS)}, not {unit!r}")
        if channels < 4 or stem < 1:
            raise ValueError(f"channels must be at least 4 and stem at least 1, not {channels} and {stem}")
        self.stem = conv_bn(in_channels, stem, 3, 2, act=nn.ReLU)
        self.stem_pool = nn.MaxPool2d(3, 2, 1)
        before = stem
        units = []
        for width, count in zip((channels // 4, channels // 2, channels), parse_repeats(REPEATS), strict=True):
            for number in range(count):
                units.append(Unit(unit, before, width, 1 if number else 2))
                before = width
        self.units = nn.Sequential(*units)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes, bias=False)
        draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        x = self.units(self.stem_pool(self.stem(images)))
        return self.classifier(torch.flatten(self.pool(x), 1))
