"""UperNet (Xiao et al. 2018), the segmentation networks of table 4 (section 4.2).

The four stages meet in a feature pyramid whose top has seen the whole image (pyramid pooling); an auxiliary head on the
third stage serves training alone. MMSegmentation, where the authors have it from, is not used here: this file says all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.convnext.model import ConvNeXt
from shared.layers.conv import conv_bn

CHANNELS, AUXILIARY = 512, 256
BINS = (1, 2, 3, 6)  # sides of the grids that pyramid pooling (Zhao et al. 2017) divides the top into


class Stages(nn.Module):
    """Images (N, in_channels, H, W) to the outputs of ConvNeXt's stages, without what classifies."""

    def __init__(self, network: ConvNeXt) -> None:
        super().__init__()
        network.pool = network.norm = network.classifier = nn.Identity()  # type: ignore[assignment]
        self.network = network
        self.widths = [stage.blocks[0].depthwise.out_channels for stage in network.stages]  # type: ignore[index, union-attr]

    def forward(self, images: Tensor) -> list[Tensor]:
        """One (N, C, H / s, W / s) for each stride s of 4, 8, 16 and 32."""
        return list(self.network.features(images).values())


class UperNet(nn.Module):
    """Images (N, in_channels, H, W) to logits (N, classes, H / 4, W / 4).

    Args:
        backbone: images to the outputs of its four stages, at strides 4, 8, 16 and 32.
        widths: their channels.
        classes: number of classes.
        auxiliary: with the second head, whose logits are returned in training beside the others, (N, classes, H / 16,
            W / 16), to have 0.4 of the weight in the loss.
    """

    def __init__(self, backbone: nn.Module, widths: Sequence[int], *, classes: int, auxiliary: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooled = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), conv_bn(widths[-1], CHANNELS, 1, act=nn.ReLU)) for side in BINS
        )
        self.top = conv_bn(widths[-1] + len(BINS) * CHANNELS, CHANNELS, 3, act=nn.ReLU)
        self.lateral = nn.ModuleList(conv_bn(width, CHANNELS, 1, act=nn.ReLU) for width in widths[:-1])
        self.smooth = nn.ModuleList(conv_bn(CHANNELS, CHANNELS, 3, act=nn.ReLU) for _ in widths[:-1])
        self.fuse = conv_bn(len(widths) * CHANNELS, CHANNELS, 3, act=nn.ReLU)
        self.classifier = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(CHANNELS, classes, 1))
        self.auxiliary = (
            nn.Sequential(
                conv_bn(widths[-2], AUXILIARY, 3, act=nn.ReLU), nn.Dropout2d(0.1), nn.Conv2d(AUXILIARY, classes, 1)
            )
            if auxiliary
            else None
        )

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits; in training with an auxiliary head the pair of both heads' logits."""
        levels = self.backbone(images)
        top = levels[-1]
        seen = [_resized(pool(top), top) for pool in self.pooled]
        pyramid = [layer(level) for layer, level in zip(self.lateral, levels[:-1], strict=True)]
        pyramid.append(self.top(torch.cat([top, *seen], dim=1)))
        for place in range(len(pyramid) - 1, 0, -1):
            pyramid[place - 1] = pyramid[place - 1] + _resized(pyramid[place], pyramid[place - 1])
        smoothed = [layer(level) for layer, level in zip(self.smooth, pyramid[:-1], strict=True)]
        levels_as_one = [_resized(level, smoothed[0]) for level in [*smoothed, pyramid[-1]]]
        logits = self.classifier(self.fuse(torch.cat(levels_as_one, dim=1)))
        if self.auxiliary is None or not self.training:
            return logits
        return logits, self.auxiliary(levels[-2])


def _resized(level: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(level, size=like.shape[2:], mode="bilinear")
