"""ResNet-20/32/44/56/110 for small images (He et al. 2016, section 4.2): three stages, parameter-free shortcuts."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional

from shared.layers import Attention
from shared.layers.conv import conv_bn

WIDTHS = (16, 32, 64)


class BlockConv(Protocol):
    """Makes the 3x3 convolution of a block, with its normalisation and activation (None: linear)."""

    def __call__(self, in_channels: int, out_channels: int, *, stride: int, act: type[nn.Module] | None) -> nn.Module:
        """A module from (N, in, H, W) to (N, out, H / stride, W / stride)."""


def plain(in_channels: int, out_channels: int, *, stride: int, act: type[nn.Module] | None) -> nn.Module:
    """A 3x3 convolution and batch normalisation."""
    return conv_bn(in_channels, out_channels, 3, stride, act=act)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and shortcut option A: every second pixel, and zeros for the new channels."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, conv: BlockConv, attention: Attention | None = None
    ) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, stride=stride, act=nn.ReLU)
        self.conv2 = conv(out_channels, out_channels, stride=1, act=None)
        self.attention = nn.Identity() if attention is None else attention(out_channels)
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            # Half of the zeros before and half after, as published checkpoints of this network have it.
            before = self.new_channels // 2
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, before, self.new_channels - before))
        return functional.relu(self.attention(self.conv2(self.conv1(x))) + shortcut)


class CifarResNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Args:
        depth: 6 n + 2 for n blocks in each stage.
        conv: makes the convolutions of the blocks; the stem stays plain.
        attention: makes a module for the end of each residual branch, before the addition.
        width: factor on every channel count.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the depth is not 6 n + 2, or the width leaves no channel.
    """

    def __init__(
        self,
        depth: int,
        conv: BlockConv = plain,
        *,
        attention: Attention | None = None,
        width: float = 1.0,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"the depth must be 6 n + 2 (20, 32, 44, 56, 110), not {depth}")
        widths = [int(full * width) for full in WIDTHS]
        if widths[0] < 1:
            raise ValueError(f"a width of {width:g} leaves no channel of {WIDTHS[0]}")
        channels = widths[0]
        self.stem = plain(in_channels, channels, stride=1, act=nn.ReLU)
        layers = []
        for stage, out_channels in enumerate(widths):
            for number in range(blocks):
                stride = 2 if stage and number == 0 else 1
                layers.append(BasicBlock(channels, out_channels, stride, conv, attention))
                channels = out_channels
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # the initialisation the ResNet paper cites (He et al. 2015)
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the three stages, named "stage1" to "stage3", at strides 1, 2 and 4."""
        x = self.stem(images)
        taps = {}
        of_stage = len(self.blocks) // len(WIDTHS)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number % of_stage == 0:
                taps[f"stage{number // of_stage}"] = x
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)["stage3"]).flatten(1))
