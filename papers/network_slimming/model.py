"""The networks of "Learning Efficient Convolutional Networks through Network Slimming" (Liu et al., ICCV 2017).

The paper prunes the scales of batch normalisation, which every network here has behind (or, in the pre-activation
networks, before) each layer that can become narrower. Its method, the penalty on those scales and their global
threshold, is `method: {name: slimming}` of the recipe and `prune: {by: scale}` of an arm; this file is what it is
applied to.

`width` is a factor on every channel count, for machines that cannot train the paper's networks; `widths` are what a
pruned network keeps, layer by layer.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from papers.densenet.model import DenseNet, layers_of
from shared.baselines.preact_resnet import PreactResNet
from shared.baselines.vgg import VGG
from shared.baselines.vgg_imagenet import ImageNetVGG
from shared.layers.widths import parse_widths

GROWTH = 12  # of DenseNet
MNIST_HIDDEN = (500, 300)
MNIST_PIXELS = 28 * 28


class MLP(nn.Module):
    """Linear layers with batch normalisation and ReLU, and a linear classifier: images to logits (N, classes).

    The scales that the paper prunes by are in the batch normalisations.

    Args:
        features: values of an image.
        hidden: units of each hidden layer.
        widths: units that are left of each, joined by hyphens; all when empty.
        classes: number of classes.

    Raises:
        ValueError: the widths do not fit the hidden layers.
    """

    def __init__(self, features: int, hidden: tuple[int, ...], *, widths: str = "", classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for units in parse_widths(widths, hidden):
            layers += [nn.Linear(features, units), nn.BatchNorm1d(units), nn.ReLU(inplace=True)]
            features = units
        self.layers = nn.Sequential(*layers, nn.Linear(features, classes))
        self.prunable = tuple(f"layers.{3 * number + 1}" for number in range(len(hidden)))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, C, H, W) of `features` values each."""
        return self.layers(images.flatten(1))


def initialise(network: nn.Module, scale: float = 0.5) -> nn.Module:
    """Draw the weights as the paper's networks start (section 4.3): the scales of batch normalisation at a half.

    Convolutions are drawn as He et al. 2015 have it over the outputs (standard deviation sqrt(2 / (k k out))), linear
    layers with standard deviation 0.01; shifts and biases are 0. The released PyTorch code leaves the linear layer of
    ResNet and DenseNet as PyTorch draws it.

    Args:
        network: drawn in place, and returned.
        scale: what the scales of batch normalisation start at.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.constant_(module.weight, scale)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    return network


def vgg19(width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 3) -> nn.Module:
    """VGG-19 for CIFAR and SVHN (section 4.2): sixteen convolutions and one linear layer."""
    return initialise(VGG(19, width=width, widths=widths, classes=classes, in_channels=in_channels))


def densenet(
    depth: int, stem: int = 16, width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 3
) -> nn.Module:
    """DenseNet with growth 12 (section 4.2: DenseNet-40); errors as `layers_of` and `DenseNet` of papers.densenet.

    The printed sizes are those of 16 channels in the `stem`; the released PyTorch code has 24.
    """
    network = DenseNet(
        layers_of(depth),
        growth=int(GROWTH * width),
        stem=int(stem * width),
        widths=widths,
        classes=classes,
        in_channels=in_channels,
    )
    return initialise(network)


def preact_resnet(
    depth: int, width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 3
) -> nn.Module:
    """ResNet with bottlenecks and pre-activation (section 4.2: ResNet-164); errors as PreactResNet."""
    return initialise(PreactResNet(depth, width=width, widths=widths, classes=classes, in_channels=in_channels))


def vgg_a(width: float = 1.0, widths: str = "", classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """VGG-A with batch normalisation for ImageNet (section 4.2), also behind the hidden linear layers; no dropout.

    The paper prunes 5094 of the 8192 units of those layers by their scales (section 4.4), so norms must stand there,
    as they do in the code that its authors released two years later.
    """
    return initialise(ImageNetVGG(11, width=width, widths=widths, classes=classes, in_channels=in_channels))


def mlp_mnist(width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 1) -> nn.Module:
    """The fully connected network 784-500-300-10 of MNIST (table 3).

    Raises:
        ValueError: the width leaves no unit, or the widths do not fit the hidden layers.
    """
    hidden = tuple(math.floor(units * width) for units in MNIST_HIDDEN)
    if min(hidden) < 1:
        raise ValueError(f"a width of {width:g} leaves no unit of {min(MNIST_HIDDEN)}")
    return initialise(MLP(MNIST_PIXELS * in_channels, hidden, widths=widths, classes=classes))
