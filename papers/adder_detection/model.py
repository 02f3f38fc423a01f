"""AdderNet classifiers: the backbones of the adder detectors.

Chen et al., "An Empirical Study of Adder Neural Networks for Object Detection" (NeurIPS 2021) builds its detectors on
those of Chen et al., "AdderNet: Do We Really Need Multiplications in Deep Learning?" (CVPR 2020). In all of them the
first convolution and the classifier multiply. Every other convolution is an adder layer, those of the shortcuts too,
and batch normalisation follows each, because sums of absolute values are far from 0 (CVPR 2020, section 3.3).

`adder=False` gives the twin: the same network with convolutions, different in nothing else.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from papers.adder_detection.adder import Adder2d, InputGradient
from shared.baselines.resnet import Block, BlockConv, ResNet
from shared.layers.conv import conv_bn

WIDTHS = (16, 32, 64)
# Output channels of the 3x3 convolutions of VGG-small; a 2x2 max pooling follows each pair.
VGG_SMALL = ((128, 128), (256, 256), (512, 512))


def adder_bn(input_gradient: InputGradient) -> BlockConv:
    """What makes an adder layer, with its normalisation and activation, in the place of a convolution."""

    def layer(
        in_channels: int, out_channels: int, kernel: int, *, stride: int = 1, act: type[nn.Module] | None
    ) -> nn.Module:
        adder = Adder2d(in_channels, out_channels, kernel, stride, kernel // 2, input_gradient=input_gradient)
        layers: list[nn.Module] = [adder, nn.BatchNorm2d(out_channels)]
        return nn.Sequential(*layers, *([act(inplace=True)] if act is not None else []))

    return layer


def layers(adder: bool, input_gradient: InputGradient) -> BlockConv:
    """The switch: adder layers, or convolutions."""
    return adder_bn(input_gradient) if adder else conv_bn


def classifier(channels: int, classes: int, *, bias: bool) -> nn.Sequential:
    """A linear layer and batch normalisation of the logits, as in the official code (there a 1x1 convolution)."""
    return nn.Sequential(nn.Linear(channels, classes, bias=bias), nn.BatchNorm1d(classes))


class AdderCifarResNet(nn.Module):
    """ResNet-20 or -32 for small images: (N, in_channels, H, W) to logits (N, classes).

    Unlike in the ResNet paper a 1x1 layer projects the shortcut where channels change.

    Args:
        depth: 6 n + 2 for n blocks in each stage.
        adder: adder layers in the blocks; else convolutions.
        input_gradient: "sign" (NeurIPS 2021, section 3.2) or "clip" (CVPR 2020).
        width: factor on every channel count.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the depth is not 6 n + 2.
    """

    def __init__(
        self,
        depth: int,
        adder: bool = True,
        input_gradient: InputGradient = "sign",
        width: float = 1.0,
        *,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        count, rest = divmod(depth - 2, 6)
        if rest or count < 1:
            raise ValueError(f"the depth must be 6 n + 2 (20, 32, 44, 56), not {depth}")
        conv = layers(adder, input_gradient)
        channels = int(WIDTHS[0] * width)
        self.stem = conv_bn(in_channels, channels, 3, act=nn.ReLU)
        stages = []
        for stage, full in enumerate(WIDTHS):
            blocks = []
            for number in range(count):
                stride = 2 if stage and number == 0 else 1
                blocks.append(Block(channels, int(full * width), stride, conv, bottleneck=False))
                channels = blocks[-1].out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier(channels, classes, bias=False)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the three stages, named "stage1" to "stage3", at strides 1, 2 and 4."""
        x = self.stem(images)
        taps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = taps[f"stage{number}"] = stage(x)
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)["stage3"]).flatten(1))


class VGGSmall(nn.Module):
    """VGG-small for images of 32 pixels: (N, in_channels, 32, 32) to logits (N, classes).

    The six convolutions and the single linear layer by which the literature on binary networks knows the name; neither
    paper draws it, and the official code does not hold it.
    """

    def __init__(
        self,
        adder: bool = True,
        input_gradient: InputGradient = "sign",
        width: float = 1.0,
        *,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        conv = layers(adder, input_gradient)
        blocks: list[nn.Module] = []
        channels = in_channels
        for pair in VGG_SMALL:
            for full in pair:
                out_channels = int(full * width)
                blocks.append((conv if blocks else conv_bn)(channels, out_channels, 3, act=nn.ReLU))
                channels = out_channels
            blocks.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*blocks)
        self.classifier = classifier(16 * channels, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, 32, 32)."""
        return self.classifier(self.layers(images).flatten(1))


def adder_resnet(
    depth: int,
    adder: bool = True,
    input_gradient: InputGradient = "sign",
    width: float = 1.0,
    *,
    classes: int = 1000,
    in_channels: int = 3,
) -> nn.Module:
    """ResNet-18, -50 or -101 for ImageNet with blocks of adder layers; see `AdderCifarResNet` for the arguments."""
    network: Any = ResNet(depth, layers(adder, input_gradient), width=width, classes=classes, in_channels=in_channels)
    network.classifier = classifier(network.classifier.in_features, classes, bias=True)
    return network
