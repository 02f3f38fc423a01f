"""MobileNet (Howard et al. 2017, table 1): depthwise separable convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from shared.layers.conv import conv_bn

STEM = 32
# Output channels and stride of each depthwise separable block: table 1.
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip


class MobileNetV1(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Weights start as PyTorch's layers draw them.

    Args:
        width: factor on every channel count (section 3.3).
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the width leaves no channel.
    """

    def __init__(self, width: float = 1.0, *, classes: int = 1000, in_channels: int = 3) -> None:
        super().__init__()
        channels = int(STEM * width)
        if channels < 1:
            raise ValueError(f"width must leave the stem of {STEM} channels at least one, not {width:g}")
        layers = [conv_bn(in_channels, channels, 3, 2, act=nn.ReLU)]
        for full, stride in BLOCKS:
            wide = int(full * width)
            layers.append(conv_bn(channels, channels, 3, stride, groups=channels, act=nn.ReLU))
            layers.append(conv_bn(channels, wide, 1, act=nn.ReLU))
            channels = wide
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.layers(images)).flatten(1))
