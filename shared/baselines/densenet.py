"""DenseNet and DenseNet-BC for small images (Huang et al. 2017, section 3), prunable at the input of every layer.

Every layer reads what all layers of its dense block before it have written, so each chooses the channels it reads by
itself (Liu et al. 2017, "Network Slimming", section 3), before its norm.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from shared.layers.select import ChannelSelect
from shared.layers.widths import parse_widths

DENSE_BLOCKS = 3
BOTTLENECK = 4  # channels of the 1x1 convolution for each channel that a layer adds


def norm_relu(in_channels: int, kept: int) -> list[nn.Module]:
    """The selection of channels, batch normalisation and ReLU: (N, in, H, W) to (N, kept, H, W)."""
    return [ChannelSelect(in_channels, kept), nn.BatchNorm2d(kept), nn.ReLU(inplace=True)]


class DenseLayer(nn.Module):
    """Adds `growth` channels to its input: (N, in, H, W) to (N, in + growth, H, W).

    Norm, ReLU and a 3x3 convolution; with a bottleneck, norm, ReLU and a 1x1 convolution come first. `widths` gives the
    input channels of each convolution.
    """

    def __init__(self, in_channels: int, growth: int, bottleneck: bool, widths: Iterator[int]) -> None:
        super().__init__()
        kept = next(widths)
        layers = norm_relu(in_channels, kept)
        if bottleneck:
            between = next(widths)
            layers += [
                nn.Conv2d(kept, between, 1, bias=False),
                nn.BatchNorm2d(between),
                nn.ReLU(inplace=True),
            ]
            kept = between
        self.body = nn.Sequential(*layers, nn.Conv2d(kept, growth, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """The input, and behind it the new channels."""
        return torch.cat([x, self.body(x)], dim=1)


class DenseNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes). Weights start as PyTorch's layers draw them.

    Args:
        depth: 3 n + 4 for n layers in each of three dense blocks, 6 n + 4 with bottlenecks.
        growth: channels that each layer adds, k.
        stem: output channels of the first convolution; the paper has 16, or 2 k for BC.
        bc: layers have bottlenecks, and transitions halve the channels.
        width: factor on `growth` and `stem`.
        widths: input channels of each convolution but the first, and of the classifier, joined by hyphens; the full
            ones when empty.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the depth does not fit, the width leaves no channel, or the widths do not fit the layers.
    """

    def __init__(
        self,
        depth: int,
        *,
        growth: int = 12,
        stem: int = 16,
        bc: bool = False,
        width: float = 1.0,
        widths: str = "",
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        per_layer = 2 if bc else 1
        count, rest = divmod(depth - 4, DENSE_BLOCKS * per_layer)
        if rest or count < 1:
            raise ValueError(f"the depth must be {DENSE_BLOCKS * per_layer} n + 4, not {depth}")
        growth, stem = int(growth * width), int(stem * width)
        if growth < 1 or stem < 1:
            raise ValueError(f"a width of {width:g} leaves no channel")
        full = []
        channels = stem
        for block in range(DENSE_BLOCKS):
            for _ in range(count):
                full += [channels, BOTTLENECK * growth] if bc else [channels]
                channels += growth
            full.append(channels)  # of the transition, or of the classifier
            channels = channels // 2 if bc and block < DENSE_BLOCKS - 1 else channels
        kept = iter(parse_widths(widths, full))
        layers: list[nn.Module] = [nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)]
        channels = stem
        for block in range(DENSE_BLOCKS):
            for _ in range(count):
                layers.append(DenseLayer(channels, growth, bc, kept))
                channels += growth
            last = next(kept)
            layers += norm_relu(channels, last)
            if block < DENSE_BLOCKS - 1:
                channels = channels // 2 if bc else channels
                layers += [nn.Conv2d(last, channels, 1, bias=False), nn.AvgPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(last, classes)
        self.prunable = tuple(name for name, layer in self.named_modules() if isinstance(layer, nn.BatchNorm2d))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))
