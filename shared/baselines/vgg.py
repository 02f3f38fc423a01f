"""VGG-16 with batch normalisation for small images: the thirteen convolutions of configuration D, one linear layer.

Simonyan and Zisserman 2015, table 1, column D; batch normalisation and the single classifier layer are those of the
CIFAR form that the pruning literature uses (Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from shared.layers.conv import conv_bn

# Output channels of the 3x3 convolutions, stage by stage; a 2x2 max pooling stands between two stages.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

Conv3x3 = Callable[[int, int], nn.Module]


def plain(in_channels: int, out_channels: int) -> nn.Module:
    """A 3x3 convolution, batch normalisation and ReLU."""
    return conv_bn(in_channels, out_channels, 3, act=nn.ReLU)


class VGG16(nn.Module):
    """VGG-16 for images of 16 pixels a side or more: (N, in_channels, H, W) to logits (N, classes).

    Weights start as PyTorch's layers draw them; with batch normalisation after each convolution their scale is free.

    Args:
        conv: makes each 3x3 convolution, with its normalisation and activation, but the first, which stays plain.
        width: factor on every channel count.
        hidden: add the 512-512 linear layer that some CIFAR forms keep before the classifier.
    """

    def __init__(
        self,
        conv: Conv3x3 = plain,
        *,
        width: float = 1.0,
        hidden: bool = False,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = in_channels
        for number, stage in enumerate(STAGES):
            if number:
                blocks.append(nn.MaxPool2d(2))
            for full in stage:
                out_channels = int(full * width)
                blocks.append(conv(channels, out_channels) if blocks else plain(channels, out_channels))
                channels = out_channels
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        layers: list[nn.Module] = [nn.Linear(channels, channels), nn.ReLU(inplace=True)] if hidden else []
        self.classifier = nn.Sequential(*layers, nn.Linear(channels, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))
