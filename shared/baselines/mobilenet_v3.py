"""MobileNetV3-Large and -Small (Howard et al. 2019, tables 1 and 2)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from shared.layers.conv import conv_bn, make_divisible
from shared.layers.squeeze_excite import SqueezeExcite

# Kernel, expanded channels, output channels, squeeze-and-excitation, h-swish (else ReLU), stride: tables 1 and 2.
Row = tuple[int, int, int, bool, bool, int]
LARGE: tuple[Row, ...] = (
    (3, 16, 16, False, False, 1),
    (3, 64, 24, False, False, 2),
    (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2),
    (5, 120, 40, True, False, 1),
    (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2),
    (3, 200, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1),
    (3, 480, 112, True, True, 1),
    (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2),
    (5, 960, 160, True, True, 1),
    (5, 960, 160, True, True, 1),
)
SMALL: tuple[Row, ...] = (
    (3, 16, 16, True, False, 2),
    (3, 72, 24, False, False, 2),
    (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2),
    (5, 240, 40, True, True, 1),
    (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1),
    (5, 144, 48, True, True, 1),
    (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1),
    (5, 576, 96, True, True, 1),
)
HEADS = {"large": 1280, "small": 1024}
# Layers, the stem being 0, whose outputs a detector takes: the last at each of the strides 4, 8, 16 and 32.
TAPS = {"large": (3, 6, 12, 15), "small": (1, 3, 8, 11)}


class Bottleneck(nn.Module):
    """Expand by 1x1, filter depthwise, squeeze and excite, project linearly by 1x1 (figure 4)."""

    def __init__(self, in_channels: int, expansion: float, row: Row, width: float) -> None:
        super().__init__()
        kernel, _, full, excite, hswish, stride = row
        hidden, out_channels = make_divisible(in_channels * expansion, 8), make_divisible(full * width, 8)
        act: type[nn.Module] = nn.Hardswish if hswish else nn.ReLU
        layers: list[nn.Module] = []
        if hidden != in_channels:
            layers.append(conv_bn(in_channels, hidden, 1, act=act))
        layers.append(conv_bn(hidden, hidden, kernel, stride, groups=hidden, act=act))
        if excite:
            layers.append(SqueezeExcite(hidden, make_divisible(hidden / 4, 8)))
        layers.append(conv_bn(hidden, out_channels, 1, act=None))
        self.body = nn.Sequential(*layers)
        self.out_channels = out_channels
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV3(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes); a `width` leaves the last hidden layer (1280 or 1024) as it is.

    Weights start as PyTorch's layers draw them; the paper does not say how its own do.

    Raises:
        ValueError: the width is not positive.
    """

    def __init__(
        self, size: Literal["large", "small"], width: float = 1.0, *, classes: int = 1000, in_channels: int = 3
    ) -> None:
        super().__init__()
        rows = LARGE if size == "large" else SMALL
        full, channels = 16, make_divisible(16 * width, 8)
        layers: list[nn.Module] = [conv_bn(in_channels, channels, 3, 2, act=nn.Hardswish)]
        for row in rows:
            # A scaled network keeps the ratio of expanded to input channels, so the printed MACs at 0.75 and 1.25 hold.
            block = Bottleneck(channels, row[1] / full, row, width)
            layers.append(block)
            full, channels = row[2], block.out_channels
        last = make_divisible(rows[-1][1] * width, 8)
        layers.append(conv_bn(channels, last, 1, act=nn.Hardswish))
        self.layers = nn.Sequential(*layers)
        self.taps = TAPS[size]
        self.pool = nn.AdaptiveAvgPool2d(1)
        hidden = HEADS[size]
        self.classifier = nn.Sequential(
            nn.Linear(last, hidden), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(hidden, classes)
        )

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The last outputs at strides 4, 8, 16 and 32, named "stage1" to "stage4"."""
        x = images
        found: dict[str, Tensor] = {}
        for number, layer in enumerate(list(self.layers)[: self.taps[-1] + 1]):
            x = layer(x)
            if number in self.taps:
                found[f"stage{len(found) + 1}"] = x
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.layers(images)).flatten(1))
