"""ResNet-20/32/44/56/110 for small images (He et al. 2016, section 4.2): three stages, parameter-free shortcuts."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional

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

    def __init__(self, in_channels: int, out_channels: int, stride: int, conv: BlockConv) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, out_channels, stride=stride, act=nn.ReLU)
        self.conv2 = conv(out_channels, out_channels, stride=1, act=None)
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            # Half of the zeros before and half after, as published checkpoints of this network have it.
            before = self.new_channels // 2
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, before, self.new_channels - before))
        return functional.relu(self.conv2(self.conv1(x)) + shortcut)


class CifarResNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes); the depth is 6 n + 2 for n blocks in each stage.

    Raises:
        ValueError: the depth is not 6 n + 2.
    """

    def __init__(self, depth: int, conv: BlockConv = plain, *, classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"the depth must be 6 n + 2 (20, 32, 44, 56, 110), not {depth}")
        self.stem = plain(in_channels, WIDTHS[0], stride=1, act=nn.ReLU)
        layers = []
        channels = WIDTHS[0]
        for stage, width in enumerate(WIDTHS):
            for number in range(blocks):
                stride = 2 if stage and number == 0 else 1
                layers.append(BasicBlock(channels, width, stride, conv))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # the initialisation the ResNet paper cites (He et al. 2015)
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.blocks(self.stem(images))).flatten(1))
