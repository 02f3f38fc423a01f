"""Pre-activation ResNet with bottlenecks for small images (He et al. 2016, "Identity Mappings"), prunable everywhere.

Normalisation and ReLU stand before each convolution. Many branches read the residual stream, so each chooses the
channels it reads by itself (Liu et al. 2017, "Network Slimming", section 3), before its first norm.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from shared.layers.conv import conv_bn
from shared.layers.select import ChannelSelect
from shared.layers.widths import parse_widths

WIDTHS = (16, 32, 64)  # of the 3x3 convolutions, stage by stage
IMAGENET_WIDTHS, IMAGENET_BLOCKS = (64, 128, 256, 512), (3, 24, 36, 3)
EXPANSION = 4


class PreactBottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution of `widths` input channels, a norm and ReLU before each.

    The shortcut takes the bare input, by a 1x1 convolution where the shape changes.
    """

    def __init__(self, in_channels: int, widths: Sequence[int], out_channels: int, stride: int) -> None:
        super().__init__()
        first, second, third = widths
        self.body = nn.Sequential(
            ChannelSelect(in_channels, first),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            nn.Conv2d(first, second, 1, bias=False),
            nn.BatchNorm2d(second),
            nn.ReLU(inplace=True),
            nn.Conv2d(second, third, 3, stride, 1, bias=False),
            nn.BatchNorm2d(third),
            nn.ReLU(inplace=True),
            nn.Conv2d(third, out_channels, 1, bias=False),
        )
        same = stride == 1 and in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        return self.body(x) + self.shortcut(x)


class PreactResNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes). Weights start as PyTorch's layers draw them.

    Args:
        depth: 9 n + 2 for n blocks in each stage (164: n = 18; 110: n = 12).
        width: factor on every channel count.
        widths: input channels of the three convolutions of each block, and of the classifier, joined by hyphens; the
            full ones when empty.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the depth is not 9 n + 2, the width leaves no channel, or the widths do not fit the blocks.
    """

    def __init__(
        self, depth: int, *, width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 3
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 9)
        if rest or blocks < 1:
            raise ValueError(f"the depth must be 9 n + 2 (110, 164), not {depth}")
        stem, *_ = inner = [int(channels * width) for channels in WIDTHS]
        if stem < 1:
            raise ValueError(f"a width of {width:g} leaves no channel of {WIDTHS[0]}")
        shapes = []  # input channels, channels of the 3x3 convolution, stride
        channels = stem
        for stage, between in enumerate(inner):
            for number in range(blocks):
                shapes.append((channels, between, 2 if stage and number == 0 else 1))
                channels = EXPANSION * between
        full = [count for before, between, _ in shapes for count in (before, between, between)]
        *kept, last = parse_widths(widths, [*full, channels])
        self.stem = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.blocks = nn.Sequential(
            *(
                PreactBottleneck(before, kept[3 * number : 3 * number + 3], EXPANSION * between, stride)
                for number, (before, between, stride) in enumerate(shapes)
            )
        )
        self.head = nn.Sequential(ChannelSelect(channels, last), nn.BatchNorm2d(last), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)
        self.prunable = tuple(name for name, layer in self.named_modules() if isinstance(layer, nn.BatchNorm2d))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.head(self.blocks(self.stem(images)))).flatten(1))


class ImageNetPreactResNet(nn.Module):
    """ResNet-200 of the same paper (its table 5), for large images: (N, in_channels, H, W) to logits (N, classes).

    A stem as in other ResNets for ImageNet, whose norm and ReLU stand in front of the pooling, then four stages of
    3, 24, 36 and 3 bottlenecks. Weights start as PyTorch's layers draw them.

    Args:
        classes: number of classes.
        in_channels: of the images.
    """

    def __init__(self, *, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = conv_bn(in_channels, IMAGENET_WIDTHS[0], 7, 2, act=nn.ReLU)
        self.stem_pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.Sequential()
        channels = IMAGENET_WIDTHS[0]
        for stage, (between, count) in enumerate(zip(IMAGENET_WIDTHS, IMAGENET_BLOCKS, strict=True)):
            for number in range(count):
                stride, out_channels = 2 if stage and number == 0 else 1, EXPANSION * between
                self.blocks.append(PreactBottleneck(channels, (channels, between, between), out_channels, stride))
                channels = out_channels
        self.head = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        x = self.stem_pool(self.stem(images))
        return self.classifier(self.pool(self.head(self.blocks(x))).flatten(1))
