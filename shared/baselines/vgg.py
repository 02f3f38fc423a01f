"""VGG-11/16/19 with batch normalisation for small images: the convolutions of the paper, one linear layer or two.

Simonyan and Zisserman 2015, table 1, columns A, D and E; batch normalisation and the short classifier are those of the
CIFAR forms that the pruning literature uses (Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 4.1;
Liu et al. 2017, "Network Slimming", section 4.2).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import chain

from torch import Tensor, nn

from shared.layers.conv import conv_bn
from shared.layers.widths import parse_widths

# Output channels of the 3x3 convolutions, stage by stage; a 2x2 max pooling stands between two stages.
STAGES = {
    11: ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    16: ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}

Conv3x3 = Callable[[int, int], nn.Module]


def plain(in_channels: int, out_channels: int) -> nn.Module:
    """A 3x3 convolution, batch normalisation and ReLU."""
    return conv_bn(in_channels, out_channels, 3, act=nn.ReLU)


class VGG(nn.Module):
    """VGG for images of 16 pixels a side or more: (N, in_channels, H, W) to logits (N, classes).

    Weights start as PyTorch's layers draw them; with batch normalisation after each convolution their scale is free.

    Args:
        depth: 11, 16 or 19; of the layers that this counts, two linear ones are not here.
        conv: makes each 3x3 convolution, with its normalisation and activation, but the first, which stays plain.
        width: factor on every channel count.
        widths: output channels of the convolutions, joined by hyphens; the full ones when empty.
        hidden: add the linear layer, as wide as the last stage in full, that some CIFAR forms keep before the
            classifier.
        hidden_norm: a batch normalisation stands behind that layer.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no network of that depth, the width leaves no channel, or the widths do not fit.
    """

    def __init__(
        self,
        depth: int,
        conv: Conv3x3 = plain,
        *,
        width: float = 1.0,
        widths: str = "",
        hidden: bool = False,
        hidden_norm: bool = False,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth not in STAGES:
            raise ValueError(f"the depth must be one of {', '.join(map(str, STAGES))}, not {depth}")
        full = [[int(channels * width) for channels in stage] for stage in STAGES[depth]]
        if full[0][0] < 1:
            raise ValueError(f"a width of {width:g} leaves no channel of {STAGES[depth][0][0]}")
        kept = iter(parse_widths(widths, list(chain.from_iterable(full))))
        blocks: list[nn.Module] = []
        prunable = []
        channels = in_channels
        for number, stage in enumerate(full):
            if number:
                blocks.append(nn.MaxPool2d(2))
            for _ in stage:
                out_channels = next(kept)
                prunable.append(f"features.{len(blocks)}.1")
                blocks.append(conv(channels, out_channels) if blocks else plain(channels, out_channels))
                channels = out_channels
        # A convolution of another kind need not end in a norm, nor have one channel of it for each filter.
        self.prunable = tuple(prunable) if conv is plain else ()
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        layers: list[nn.Module] = []
        if hidden:
            out_channels = full[-1][-1]
            norm = [nn.BatchNorm1d(out_channels)] if hidden_norm else []
            layers = [nn.Linear(channels, out_channels), *norm, nn.ReLU(inplace=True)]
            channels = out_channels
        self.classifier = nn.Sequential(*layers, nn.Linear(channels, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))


VGG16 = functools.partial(VGG, 16)
