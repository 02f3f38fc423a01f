"""MobileNetV2 (Sandler et al. 2018, table 2): inverted residuals with linear bottlenecks."""

from __future__ import annotations

from torch import Tensor, nn

from shared.layers import Attention
from shared.layers.conv import conv_bn, make_divisible
from shared.layers.widths import parse_widths

# Expansion t, output channels c, repeats n, stride s of the first block: table 2.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# Layers, the stem being 0, whose outputs a detector takes: the last at each of the strides 4, 8, 16 and 32.
TAPS = (3, 6, 13, 17)


class InvertedResidual(nn.Module):
    """Expand to `hidden` channels by 1x1, filter by depthwise 3x3, project linearly by 1x1 (figure 4 d).

    An `expansion` of 1 leaves the first step out; `hidden` is `in_channels` then.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        expansion: int,
        stride: int,
        attention: Attention | None = None,
    ) -> None:
        super().__init__()
        expand = [conv_bn(in_channels, hidden, 1, act=nn.ReLU6)] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand,
            conv_bn(hidden, hidden, 3, stride, groups=hidden, act=nn.ReLU6),
            conv_bn(hidden, out_channels, 1, act=None),
        )
        if attention is not None:
            self.body.append(attention(out_channels))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        return x + self.body(x) if self.residual else self.body(x)


class MobileNetV2(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Weights start as PyTorch's layers draw them; the paper does not say how its own do.

    Args:
        width: factor on every channel count; one under 1 leaves the last 1280 as they are.
        attention: makes a module for the end of each inverted residual, before the addition where there is one.
        widths: hidden channels of each inverted residual, joined by hyphens; the full ones when empty. The first block
            expands nothing, so that its hidden channels are the stem's.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the width is not positive, or the widths do not fit the blocks.
    """

    def __init__(
        self,
        width: float = 1.0,
        *,
        attention: Attention | None = None,
        widths: str = "",
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        channels = make_divisible(32 * width, 8)
        blocks = []  # input channels, output channels, expansion, stride
        for expansion, full, repeats, stride in STAGES:
            out_channels = make_divisible(full * width, 8)
            for number in range(repeats):
                blocks.append((channels, out_channels, expansion, 1 if number else stride))
                channels = out_channels
        hidden = parse_widths(widths, [before * expansion for before, _, expansion, _ in blocks])
        layers: list[nn.Module] = [conv_bn(in_channels, hidden[0], 3, 2, act=nn.ReLU6)]
        for (before, after, expansion, stride), between in zip(blocks, hidden, strict=True):
            before = before if expansion > 1 else between
            layers.append(InvertedResidual(before, between, after, expansion, stride, attention))
        # The norm behind the depthwise filter: only there does a channel of zeros reach nothing else.
        self.prunable = tuple(
            f"layers.{number}.body.{1 if expansion > 1 else 0}.1"
            for number, (_, _, expansion, _) in enumerate(blocks, 1)
        )
        last = make_divisible(1280 * max(width, 1.0), 8)
        layers.append(conv_bn(channels, last, 1, act=nn.ReLU6))
        self.layers = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The last outputs at strides 4, 8, 16 and 32, named "stage1" to "stage4"."""
        x = images
        taps: dict[str, Tensor] = {}
        for number, layer in enumerate(list(self.layers)[: TAPS[-1] + 1]):
            x = layer(x)
            if number in TAPS:
                taps[f"stage{len(taps) + 1}"] = x
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.layers(images)).flatten(1))
