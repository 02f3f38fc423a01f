"""ResNet-18/34/50/101/152 for ImageNet (He et al. 2016, table 1), projection shortcuts (option B).

The stride of a bottleneck stands at its 3x3 convolution, as in the networks that papers since 2017 compare with
("ResNet v1.5"); parameters are the same as with the original place, MACs are 4.1 G instead of 3.8 G for ResNet-50.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from torch import Tensor, nn

from shared.layers import Attention
from shared.layers.conv import conv_bn
from shared.layers.widths import parse_widths

STAGE_WIDTHS = (64, 128, 256, 512)
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BASIC_DEPTHS = (18, 34)


class BlockConv(Protocol):
    """Makes a convolution of a block, with its normalisation and activation (None: linear)."""

    def __call__(
        self, in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, act: type[nn.Module] | None
    ) -> nn.Module:
        """A module from (N, in, H, W) to (N, out, H / stride, W / stride)."""


def plain(
    in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, act: type[nn.Module] | None
) -> nn.Module:
    """A convolution and batch normalisation."""
    return conv_bn(in_channels, out_channels, kernel, stride, act=act)


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or the bottleneck 1x1, 3x3, 1x1 that widens fourfold.

    `inner` are the output channels of every convolution but the last, `width` each when they are not given.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        conv: BlockConv,
        *,
        bottleneck: bool,
        attention: Attention | None = None,
        inner: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.out_channels = 4 * width if bottleneck else width
        if bottleneck:
            first, second = inner or (width, width)
            self.body = nn.Sequential(
                conv(in_channels, first, 1, act=nn.ReLU),
                conv(first, second, 3, stride=stride, act=nn.ReLU),
                conv(second, self.out_channels, 1, act=None),
            )
        else:
            (first,) = inner or (width,)
            self.body = nn.Sequential(
                conv(in_channels, first, 3, stride=stride, act=nn.ReLU), conv(first, width, 3, act=None)
            )
        if attention is not None:
            self.body.append(attention(self.out_channels))
        same = stride == 1 and in_channels == self.out_channels
        self.shortcut = nn.Identity() if same else conv(in_channels, self.out_channels, 1, stride=stride, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        return self.relu(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Args:
        depth: 18, 34, 50, 101 or 152.
        conv: makes the convolutions of the blocks and of their shortcuts; the 7x7 stem stays plain.
        attention: makes a module for the end of each residual branch, before the addition.
        width: factor on every channel count.
        stem: channels of the stem; those of the first stage when it is not given.
        base_width: channels inside the bottlenecks of the first stage at a width of 1, the other stages in proportion;
            what a block gives is as wide as before (Zagoruyko and Komodakis 2016: 128).
        widths: output channels of the convolutions of each block but its last, joined by hyphens; the full ones when
            empty.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no network of that depth, its blocks are no bottlenecks and have a base width, the
            width leaves no channel, or the widths do not fit its blocks.
    """

    def __init__(
        self,
        depth: int,
        conv: BlockConv = plain,
        *,
        attention: Attention | None = None,
        width: float = 1.0,
        stem: int | None = None,
        base_width: int = STAGE_WIDTHS[0],
        widths: str = "",
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"the depth must be one of {', '.join(map(str, BLOCKS))}, not {depth}")
        bottleneck = depth not in BASIC_DEPTHS
        if base_width != STAGE_WIDTHS[0] and not bottleneck:
            raise ValueError(f"a base width belongs to bottlenecks; ResNet-{depth} has none")
        per_block = 2 if bottleneck else 1
        full = [int(channels * width) for channels in STAGE_WIDTHS]
        if full[0] < 1:
            raise ValueError(f"a width of {width:g} leaves no channel of {STAGE_WIDTHS[0]}")
        counts = [count * per_block for count in BLOCKS[depth]]
        between = [channels * base_width // STAGE_WIDTHS[0] for channels in full]
        every = [channels for channels, count in zip(between, counts, strict=True) for _ in range(count)]
        inner = iter(parse_widths(widths, every))
        channels = full[0] if stem is None else stem
        self.stem = conv_bn(in_channels, channels, 7, 2, act=nn.ReLU)
        self.stem_pool = nn.MaxPool2d(3, 2, 1)
        stages = []
        for stage, count in enumerate(BLOCKS[depth]):
            blocks = []
            for number in range(count):
                stride = 2 if stage and number == 0 else 1
                kept = list(islice(inner, per_block))
                blocks.append(
                    Block(channels, full[stage], stride, conv, bottleneck=bottleneck, attention=attention, inner=kept)
                )
                channels = blocks[-1].out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        # A convolution of another kind need not end in a norm, nor have one channel of it for each filter.
        self.prunable = tuple(
            f"stages.{stage}.{number}.body.{layer}.1"
            for stage, count in enumerate(BLOCKS[depth])
            for number in range(count)
            for layer in range(per_block)
            if conv is plain
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # the initialisation the ResNet paper cites (He et al. 2015)
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the four stages, named "stage1" to "stage4", at strides 4, 8, 16 and 32."""
        x = self.stem_pool(self.stem(images))
        taps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = taps[f"stage{number}"] = stage(x)
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)["stage4"]).flatten(1))
