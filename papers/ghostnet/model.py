"""GhostNet: more features from cheap operations (Han et al., CVPR 2020).

The Ghost module (section 3.1, figure 2) makes a few intrinsic feature maps by ordinary convolution and the rest from
them by cheap depthwise convolutions; the Ghost bottleneck (section 3.2, figure 3) stacks two of them; GhostNet
(table 1) stacks the bottlenecks. The first part of this file is the module; the networks that it is put into follow.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from torch import Tensor, nn

from shared.baselines import resnet, resnet_cifar, vgg
from shared.layers.conv import conv_bn, make_divisible
from shared.layers.squeeze_excite import SqueezeExcite, clip, hard_sigmoid


class GhostModule(nn.Module):
    """Equations 2 and 3: m = ceil(n / s) intrinsic maps, and s - 1 ghosts of each; (N, c, H, W) to (N, n, H', W').

    Args:
        in_channels: c.
        out_channels: n. When s does not divide n, the last ghosts are left out.
        kernel: k of the primary convolution.
        s: maps made from each intrinsic map, itself included; 1 is an ordinary convolution.
        d: kernel of the cheap depthwise convolutions.
        stride: of the primary convolution; the cheap ones keep stride 1.
        act: activation after both halves, None for a linear output.

    Raises:
        ValueError: s is less than 1, or d is even, which would change the size of the ghosts.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        *,
        s: int = 2,
        d: int = 3,
        stride: int = 1,
        act: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        super().__init__()
        if s < 1 or d % 2 == 0:
            raise ValueError(f"s must be at least 1 and d odd, not s={s} and d={d}")
        self.out_channels = out_channels
        intrinsic = math.ceil(out_channels / s)
        self.primary = conv_bn(in_channels, intrinsic, kernel, stride, act=act)
        self.cheap = conv_bn(intrinsic, intrinsic * (s - 1), d, groups=intrinsic, act=act) if s > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Intrinsic maps first, then their ghosts; the ghosts are made after the intrinsic maps' activation."""
        intrinsic = self.primary(x)
        if self.cheap is None:
            return intrinsic
        return torch.cat([intrinsic, self.cheap(intrinsic)], dim=1)[:, : self.out_channels]


def theoretical_speed_up(c: int, k: int, s: int, d: int) -> float:
    """Equation 4, r_s: MACs of an ordinary k x k convolution with c input channels over those of the Ghost module."""
    return c * k * k / (c * k * k / s + (s - 1) / s * d * d)


def ghost_vgg16(s: int = 2, d: int = 3, width: float = 1.0, classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Ghost-VGG-16 (section 4.1, tables 3 to 5): every convolution but the first becomes a Ghost module."""
    conv = functools.partial(GhostModule, kernel=3, s=s, d=d)
    return vgg.VGG16(conv, width=width, classes=classes, in_channels=in_channels)


def vgg16(width: float = 1.0, classes: int = 10, in_channels: int = 3, hidden: bool = False) -> nn.Module:
    """The plain network of tables 3 to 5; `hidden` adds the 512-512 linear layer that its printed parameters imply."""
    return vgg.VGG16(width=width, classes=classes, in_channels=in_channels, hidden=hidden)


def ghost_resnet56(s: int = 2, d: int = 3, classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Ghost-ResNet-56 (table 5): both convolutions of every block become Ghost modules; stem and shortcuts stay."""
    return _ghost_cifar_resnet(56, s, d, classes, in_channels)


def ghost_resnet20(s: int = 2, d: int = 3, classes: int = 10, in_channels: int = 3) -> nn.Module:
    """The same at depth 20, which is not in the paper: for machines that cannot train 56 layers."""
    return _ghost_cifar_resnet(20, s, d, classes, in_channels)


def _ghost_cifar_resnet(depth: int, s: int, d: int, classes: int, in_channels: int) -> nn.Module:
    conv = functools.partial(GhostModule, kernel=3, s=s, d=d)
    return resnet_cifar.CifarResNet(depth, conv, classes=classes, in_channels=in_channels)


def ghost_resnet50(
    s: int = 2, d: int = 3, ghost_classifier: bool = False, classes: int = 1000, in_channels: int = 3
) -> nn.Module:
    """Ghost-ResNet-50 (table 6): every 1x1 and 3x3 convolution of the blocks becomes a Ghost module.

    `ghost_classifier` compresses the last linear layer too (as a Ghost module on a single pixel): the printed
    parameters, 13.0 M and 6.5 M, are lower than any network that keeps it.
    """
    conv = functools.partial(GhostModule, s=s, d=d)
    model = resnet.ResNet(50, conv, classes=classes, in_channels=in_channels)
    if ghost_classifier:
        features = model.classifier.in_features
        module = GhostModule(features, classes, s=s, d=1, act=None)
        model.classifier = nn.Sequential(nn.Unflatten(1, (features, 1, 1)), module, nn.Flatten())  # type: ignore[assignment]
    return model


# Table 1, row by row: kernel, expanded channels, output channels, squeeze-and-excitation, stride. The kernels are those
# of the official code; the table does not print them.
TABLE_1 = (
    (3, 16, 16, False, 1),
    (3, 48, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
)
STEM, HEAD = 16, 1280
GATES = {"hard_sigmoid": hard_sigmoid, "clip": clip}
# Blocks (from 1) whose outputs a detector takes, at strides 4, 8, 16 and 32 (the author, demo repository, issue 35).
TAPS = (3, 5, 11, 16)

Rounding = Literal["pytorch", "tensorflow"]


def round_channels(channels: float, rounding: Rounding) -> int:
    """A scaled channel count as a multiple of 4, by the rule of the PyTorch or of the TensorFlow release.

    They agree at widths 0.5 and 1.0; at 1.1 the TensorFlow rule gives the 164 M MACs that the paper prints, the PyTorch
    rule 167 M.
    """
    if rounding == "pytorch":
        return make_divisible(channels, 4)
    if rounding != "tensorflow":
        raise ValueError(f"rounding must be pytorch or tensorflow, not {rounding}")
    return round(max(int(channels), 8) / 4) * 4  # Python's round, halves to the even number, as in the release


class GhostBottleneck(nn.Module):
    """Figure 3: a Ghost module expands, another projects linearly; a depthwise convolution strides between them.

    Args:
        in_channels: of the input.
        hidden: expanded channels.
        out_channels: of the output.
        kernel: of the strided depthwise convolution and of the shortcut's; blocks with neither ignore it.
        stride: 1 or 2.
        excite: squeeze-and-excitation on the expanded channels, or None.
    """

    def __init__(
        self, in_channels: int, hidden: int, out_channels: int, kernel: int, stride: int, excite: nn.Module | None
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [GhostModule(in_channels, hidden)]
        if stride > 1:
            layers.append(conv_bn(hidden, hidden, kernel, stride, groups=hidden, act=None))
        if excite is not None:
            layers.append(excite)
        layers.append(GhostModule(hidden, out_channels, act=None))
        self.body = nn.Sequential(*layers)
        self.shortcut = nn.Sequential()  # the identity
        if stride > 1 or in_channels != out_channels:
            self.shortcut.append(conv_bn(in_channels, in_channels, kernel, stride, groups=in_channels, act=None))
            self.shortcut.append(conv_bn(in_channels, out_channels, 1, act=None))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride); no activation follows the sum."""
        out = self.body(x)
        out += self.shortcut(x)  # in place: measurably faster than a new tensor
        return out


class GhostNet(nn.Module):
    """GhostNet (table 1): (N, in_channels, H, W) to logits (N, classes).

    The three official releases disagree, and an argument stands for each difference. The demo release scales channels
    by the PyTorch rule and squeezes to a quarter, which is "tensorflow" here where both rules agree (widths 0.5, 1.0
    and 1.3). TensorFlow's one-sided padding of strided convolutions is not reproduced. Weights start as PyTorch's
    layers draw them, as in the PyTorch release; the other two releases draw them after He et al. 2015.

    Args:
        width: factor on every channel count but the head's 1280.
        rounding: of scaled channel counts, see `round_channels`, and of the squeeze inside squeeze-and-excitation: a
            multiple of 4 ("pytorch") or a quarter, cut ("tensorflow").
        head: "bias" (PyTorch release: 1x1 convolution with bias) or "norm" (TensorFlow and demo releases: without bias,
            with batch normalisation).
        gate: of the squeeze-and-excitation, "hard_sigmoid" (PyTorch release) or "clip" (TensorFlow and demo releases).
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: a width that is not positive, or an unknown name of a rule, a head or a gate.
    """

    def __init__(
        self,
        width: float = 1.0,
        rounding: Rounding = "pytorch",
        head: Literal["bias", "norm"] = "bias",
        gate: Literal["hard_sigmoid", "clip"] = "hard_sigmoid",
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if width <= 0:
            raise ValueError(f"the width must be positive, not {width}")
        if head not in ("bias", "norm") or gate not in GATES:
            raise ValueError(f"head must be bias or norm and gate {' or '.join(GATES)}, not {head} and {gate}")

        def scaled(channels: int) -> int:
            return round_channels(channels * width, rounding)

        channels = scaled(STEM)
        self.stem = conv_bn(in_channels, channels, 3, 2, act=nn.ReLU)
        blocks = []
        for kernel, expanded, full, excite, stride in TABLE_1:
            hidden, out_channels = scaled(expanded), scaled(full)
            reduced = make_divisible(hidden / 4, 4) if rounding == "pytorch" else hidden // 4
            gating = SqueezeExcite(hidden, reduced, GATES[gate]) if excite else None
            blocks.append(GhostBottleneck(channels, hidden, out_channels, kernel, stride, gating))
            channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        last = scaled(TABLE_1[-1][1])
        self.last = conv_bn(channels, last, 1, act=nn.ReLU)
        self.pool = nn.AdaptiveAvgPool2d(1)
        norm: list[nn.Module] = [nn.BatchNorm2d(HEAD)] if head == "norm" else []
        self.head = nn.Sequential(nn.Conv2d(last, HEAD, 1, bias=head == "bias"), *norm, nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(HEAD, classes))

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of blocks 3, 5, 11 and 16, named "block3" and so on, at strides 4, 8, 16 and 32."""
        x = self.stem(images)
        taps = {}
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number in TAPS:
                taps[f"block{number}"] = x
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        x = self.features(images)[f"block{TAPS[-1]}"]
        return self.classifier(self.head(self.pool(self.last(x))))
