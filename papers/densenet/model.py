"""DenseNet: densely connected convolutional networks (Huang, Liu, van der Maaten and Weinberger, CVPR 2017).

A layer reads what all layers before it in its dense block have written, x_l = H_l([x_0, ..., x_{l-1}]) (equation 2),
and adds `growth` channels, k. H_l is norm, ReLU and a 3x3 convolution; with a bottleneck (B), norm, ReLU and a 1x1
convolution to 4 k channels come first. A transition between two blocks halves height and width and, with compression
(C), keeps a part of the channels. The first part of this file is the layer, the second the network, the third the
paper's own: those of section 4 for small images and those of table 1.

The networks for small images can be pruned at the input of every layer: each chooses the channels it reads by itself
(Liu et al. 2017, "Network Slimming", section 3), before its norm.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from shared.baselines.preact_resnet import PreactResNet
from shared.layers.select import ChannelSelect
from shared.layers.widths import parse_widths

BOTTLENECK = 4  # channels of a layer's 1x1 convolution for each channel that the layer adds
SMALL_BLOCKS = 3  # dense blocks of a network for small images
SMALL_STEM = 16  # channels of its first convolution, if it is not DenseNet-BC
# Table 1 and, of the wide one, the first versions of table 3: dense layers in each block.
IMAGENET_LAYERS = {
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}


class DenseLayer(nn.Module):
    """H_l and the concatenation with its input: (N, in, H, W) to (N, in + growth, H, W).

    Args:
        before: what H_l begins with, norm and ReLU, and how many channels come out of it.
        growth: k.
        between: channels of the bottleneck, or None without one.
        dropout: rate behind each convolution; 0 leaves the layers out.
    """

    def __init__(self, before: tuple[list[nn.Module], int], growth: int, between: int | None, dropout: float) -> None:
        super().__init__()
        layers, channels = before
        if between is not None:
            layers = [*layers, *convolution(channels, between, 1, dropout)]
            layers += [nn.BatchNorm2d(between), nn.ReLU(inplace=True)]
            channels = between
        self.body = nn.Sequential(*layers, *convolution(channels, growth, 3, dropout))

    def new(self, *before: Tensor) -> Tensor:
        """The new channels alone (N, growth, H, W), of what the stem or transition and each layer have written."""
        return self.body(torch.cat(before, dim=1) if len(before) > 1 else before[0])

    def forward(self, x: Tensor) -> Tensor:
        """The input, and behind it the new channels."""
        return torch.cat([x, self.new(x)], dim=1)


def norm_relu(in_channels: int, kept: int, prunable: bool) -> tuple[list[nn.Module], int]:
    """A selection of channels where there can be one, batch normalisation and ReLU; and how many channels come out."""
    select = ChannelSelect(in_channels, kept) if prunable else nn.Identity()
    return [select, nn.BatchNorm2d(kept), nn.ReLU(inplace=True)], kept


def convolution(in_channels: int, out_channels: int, kernel: int, dropout: float) -> list[nn.Module]:
    """A convolution that keeps height and width, and behind it dropout, if any (section 3.4)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return [conv, nn.Dropout(dropout)] if dropout else [conv]


class Features(nn.Sequential):
    """Stem, dense layers, transitions, and the last norm and ReLU, one after the other.

    Args:
        layers: these.
        memory_efficient: what a dense layer computes on the way to its new channels is not kept for the backward pass
            but computed again there (Pleiss et al. 2017, "Memory-Efficient Implementation of DenseNets"): memory grows
            with the depth, not with its square. Outputs, gradients and statistics are the same.
    """

    def __init__(self, *layers: nn.Module, memory_efficient: bool) -> None:
        super().__init__(*layers)
        self.memory_efficient = memory_efficient

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the features that the classifier sees."""
        if not (self.memory_efficient and torch.is_grad_enabled()):
            return super().forward(x)
        written = [x]  # by the stem or transition before a block, and by each layer of the block
        for layer in self:
            if isinstance(layer, DenseLayer):
                contexts = functools.partial(_first_and_second, layer)
                written.append(checkpoint(layer.new, *written, use_reentrant=False, context_fn=contexts))
            else:
                written = [layer(torch.cat(written, dim=1) if len(written) > 1 else written[0])]
        return written[0]


class _StatisticsStay:
    """Surrounds the second pass of a layer: batch normalisation has counted this batch already."""

    def __init__(self, layer: nn.Module) -> None:
        self.norms = [norm for norm in layer.modules() if isinstance(norm, nn.BatchNorm2d)]

    def __enter__(self) -> None:
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *_: object) -> None:
        for norm, (momentum, batches) in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def _first_and_second(layer: nn.Module) -> tuple[nullcontext[None], _StatisticsStay]:
    return nullcontext(), _StatisticsStay(layer)


class DenseNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes). Weights start as PyTorch's layers draw them.

    Args:
        layers: in each dense block.
        growth: channels that each layer adds, k.
        stem: output channels of the first convolution.
        imagenet: the first convolution is 7x7 with stride 2, and norm, ReLU and 3x3 max-pooling with stride 2 follow
            (table 1); otherwise it is 3x3 and nothing follows.
        bottleneck: the layers have bottlenecks.
        compression: theta, the part of the channels that a transition keeps, rounded down.
        dropout: rate behind each convolution but the first.
        memory_efficient: see `Features`.
        widths: input channels of each convolution but the first, and of the classifier, joined by hyphens; the full
            ones when empty. None makes a network that cannot be pruned, without selections, which is faster.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: a number out of its range, or widths that do not fit the layers.
    """

    def __init__(
        self,
        layers: Sequence[int],
        *,
        growth: int,
        stem: int,
        imagenet: bool = False,
        bottleneck: bool = False,
        compression: float = 1.0,
        dropout: float = 0.0,
        memory_efficient: bool = False,
        widths: str | None = None,
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if growth < 1 or stem < 1:
            raise ValueError(f"growth and stem must be at least 1, not {growth} and {stem}")
        if not 0 < compression <= 1:
            raise ValueError(f"compression must be above 0 and at most 1, not {compression:g}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {dropout:g}")
        inputs, channels = [], stem  # of each dense layer, and behind them of the transition or classifier
        for count in layers:
            inputs.append([channels + growth * number for number in range(count + 1)])
            channels = int(inputs[-1][-1] * compression)
        if min(map(min, inputs)) < 1:
            raise ValueError(f"compression {compression:g} leaves a block without channels; give a larger one")
        full = []
        for *block, last in inputs:
            full += [width for one in block for width in ([one, BOTTLENECK * growth] if bottleneck else [one])] + [last]
        kept, prunable = iter(parse_widths(widths or "", full)), widths is not None
        body: list[nn.Module] = [nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)]
        if imagenet:
            body = [nn.Conv2d(in_channels, stem, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(stem)]
            body += [nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)]
        for number, (*block, last) in enumerate(inputs):
            for one in block:
                before = norm_relu(one, next(kept), prunable)
                body.append(DenseLayer(before, growth, next(kept) if bottleneck else None, dropout))
            end, channels = norm_relu(last, next(kept), prunable)
            body += end
            if number + 1 < len(inputs):
                body += [*convolution(channels, inputs[number + 1][0], 1, dropout), nn.AvgPool2d(2)]
        self.features = Features(*body, memory_efficient=memory_efficient)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        if prunable:
            self.prunable = tuple(name for name, layer in self.named_modules() if isinstance(layer, nn.BatchNorm2d))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))


def layers_of(depth: int, bottleneck: bool = False) -> tuple[int, ...]:
    """Dense layers in each block of a network for small images (section 3.4).

    Raises:
        ValueError: the depth is not 3 n + 4, or 6 n + 4 with bottlenecks, for n layers.
    """
    step = SMALL_BLOCKS * (2 if bottleneck else 1)
    count, rest = divmod(depth - 4, step)
    if rest or count < 1:
        raise ValueError(f"the depth must be {step} n + 4, not {depth}")
    return (count,) * SMALL_BLOCKS


def initialise(network: nn.Module) -> nn.Module:
    """Draw the convolutions as the released code does, after He et al. 2015 over the outputs; the last bias is 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


def densenet(
    depth: int = 40,
    growth: int = 12,
    bottleneck: bool = False,
    compression: float = 1.0,
    stem: int = 0,
    dropout: float = 0.0,
    memory_efficient: bool = False,
    classes: int = 10,
    in_channels: int = 3,
) -> nn.Module:
    """The networks for CIFAR and SVHN (section 3.4, tables 1 and 2); errors as `layers_of` and `DenseNet`.

    Args:
        depth: 3 n + 4 for n layers in each of three dense blocks, 6 n + 4 with bottlenecks.
        growth: k.
        bottleneck: B; with a compression below 1 it is DenseNet-BC.
        compression: C, theta; the paper has 0.5.
        stem: channels of the first convolution; 0 is the paper's rule, 16, or 2 k for DenseNet-BC. The released code
            has 2 k for every network.
        dropout: the paper has 0.2 where the images are not augmented, and none where they are.
        memory_efficient: see `Features`.
        classes: number of classes.
        in_channels: of the images.
    """
    network = DenseNet(
        layers_of(depth, bottleneck),
        growth=growth,
        stem=stem or (2 * growth if bottleneck and compression < 1 else SMALL_STEM),
        bottleneck=bottleneck,
        compression=compression,
        dropout=dropout,
        memory_efficient=memory_efficient,
        classes=classes,
        in_channels=in_channels,
    )
    return initialise(network)


def densenet_imagenet(
    depth: int, growth: int = 32, memory_efficient: bool = False, classes: int = 1000, in_channels: int = 3
) -> nn.Module:
    """DenseNet-BC for ImageNet (table 1): four dense blocks behind a stem of 2 k channels, theta 0.5.

    Args:
        depth: of `IMAGENET_LAYERS`.
        growth: k.
        memory_efficient: see `Features`.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: another depth, or a growth below 1.
    """
    if depth not in IMAGENET_LAYERS:
        raise ValueError(f"depth must be one of {', '.join(map(str, IMAGENET_LAYERS))}, not {depth}")
    network = DenseNet(
        IMAGENET_LAYERS[depth],
        growth=growth,
        stem=2 * growth,
        imagenet=True,
        bottleneck=True,
        compression=0.5,
        memory_efficient=memory_efficient,
        classes=classes,
        in_channels=in_channels,
    )
    return initialise(network)


def preact_resnet(depth: int = 164, width: float = 1.0, classes: int = 10, in_channels: int = 3) -> nn.Module:
    """What figure 4 compares with, initialised alike: errors as `shared.baselines.preact_resnet.PreactResNet`.

    `width`, a factor on every channel count, is not in the paper.
    """
    return initialise(PreactResNet(depth, width=width, classes=classes, in_channels=in_channels))
