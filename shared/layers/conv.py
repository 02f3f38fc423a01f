"""Convolution with batch normalisation, the block of every network here, and the rounding of channel counts."""

from __future__ import annotations

from torch import nn


def conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, groups: int = 1, act: type[nn.Module] | None
) -> nn.Sequential:
    """Convolution without bias, batch normalisation, and the activation `act` (None for a linear output).

    (N, in, H, W) to (N, out, ceil(H / stride), ceil(W / stride)) for an odd `kernel`.
    """
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [conv, nn.BatchNorm2d(out_channels)]
    if act is not None:
        layers.append(act(inplace=True))
    return nn.Sequential(*layers)


def make_divisible(channels: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `channels`, at least `divisor` and never below 90 % of `channels`.

    The rule of the MobileNet family (MobileNetV2's reference code); halves round up.

    Raises:
        ValueError: `channels` is not positive, as with a width of 0.
    """
    if channels <= 0:
        raise ValueError(f"a count of channels must be positive, not {channels:g}")
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor
