"""Small networks with prunable layers, random statistics, masks that fit them, and a count by hand of what is left."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from papers.densenet.model import DenseNet, layers_of
from shared.baselines.mobilenet_v2 import MobileNetV2
from shared.baselines.preact_resnet import PreactResNet
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import CifarResNet
from shared.baselines.vgg import VGG
from shared.layers.conv import conv_bn
from shared.layers.select import ChannelSelect
from shared.layers.shuffle import ChannelShuffle
from shared.layers.widths import parse_widths, prunable_norms

SHAPE = (3, 32, 32)
GROUPS = 2


class Flattened(nn.Module):
    """Convolutions, a flattening of 4x4 maps, linear layers with a norm between them."""

    def __init__(self, widths: str = "") -> None:
        super().__init__()
        first, second, third = parse_widths(widths, [6, 5, 7])
        self.layers = nn.Sequential(
            conv_bn(3, first, 3, 2, act=nn.ReLU),
            conv_bn(first, second, 3, 2, act=nn.ReLU),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * second, third),
            nn.BatchNorm1d(third),
            nn.ReLU(inplace=True),
            nn.Linear(third, 4),
        )
        self.prunable = ("layers.0.1", "layers.1.1", "layers.5")

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class Shuffled(nn.Module):
    """A unit of ShuffleNet: grouped 1x1, shuffle, depthwise 3x3, grouped 1x1, added to its input."""

    def __init__(self, widths: str = "") -> None:
        super().__init__()
        (inner,) = parse_widths(widths, [12])
        self.stem = conv_bn(3, 8, 3, 2, act=nn.ReLU)
        self.body = nn.Sequential(
            conv_bn(8, inner, 1, groups=GROUPS, act=nn.ReLU),
            ChannelShuffle(inner, GROUPS),
            conv_bn(inner, inner, 3, groups=inner, act=nn.ReLU),
            conv_bn(inner, 8, 1, groups=GROUPS, act=None),
        )
        self.classifier = nn.Linear(8, 4)
        self.prunable = ("body.2.1",)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        return self.classifier(torch.relu(x + self.body(x)).mean((2, 3)))


class Joined(nn.Module):
    """Two branches concatenated and shuffled, as in ShuffleNetV2: what pruning leaves is no regular shuffle."""

    def __init__(self, widths: str = "") -> None:
        super().__init__()
        left, right = parse_widths(widths, [5, 5])
        self.left, self.right = conv_bn(3, left, 3, 2, act=nn.ReLU), conv_bn(3, right, 3, 2, act=nn.ReLU)
        self.shuffle = ChannelShuffle(left + right, 2)
        self.head = nn.Conv2d(left + right, 4, 1)
        self.prunable = ("left.1", "right.1")

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.shuffle(torch.cat([self.left(images), self.right(images)], dim=1))).mean((2, 3))


def vgg(widths: str = "") -> nn.Module:
    return VGG(11, width=1 / 32, hidden=True, widths=widths)


def basic(widths: str = "") -> nn.Module:
    return CifarResNet(8, width=0.5, widths=widths)


def bottleneck(widths: str = "") -> nn.Module:
    return ResNet(50, width=1 / 16, classes=10, widths=widths)


def preactivation(widths: str = "") -> nn.Module:
    return PreactResNet(11, width=0.25, widths=widths)


def dense(widths: str = "") -> nn.Module:
    return DenseNet(layers_of(10), growth=4, stem=6, widths=widths)


def dense_bottleneck(widths: str = "") -> nn.Module:
    return DenseNet(layers_of(10, True), growth=4, stem=6, bottleneck=True, compression=0.5, widths=widths)


def inverted(widths: str = "") -> nn.Module:
    return MobileNetV2(0.5, classes=10, widths=widths)


NETWORKS: dict[str, Callable[[str], nn.Module]] = {
    "flattened": Flattened,
    "shuffled": Shuffled,
    "joined": Joined,
    "vgg": vgg,
    "basic": basic,
    "bottleneck": bottleneck,
    "preactivation": preactivation,
    "dense": dense,
    "dense bottleneck": dense_bottleneck,
    "inverted": inverted,
}


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """In evaluation mode, with statistics, scales and shifts of every norm drawn at random: nothing is trivially 0."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(like: Tensor, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            with torch.no_grad():
                layer.weight.copy_(uniform(layer.weight, 0.3, 1.0))
                layer.bias.copy_(uniform(layer.bias, -0.3, 0.6))
                if layer.running_mean is not None and layer.running_var is not None:
                    layer.running_mean.copy_(uniform(layer.bias, -0.3, 0.3))
                    layer.running_var.copy_(uniform(layer.bias, 0.5, 2.0))
    return network.eval()


def draw_masks(network: nn.Module, seed: int, share: float) -> dict[str, Tensor]:
    """Random masks that keep about `share` of each layer, one channel at least."""
    generator = torch.Generator().manual_seed(seed)
    if isinstance(network, Shuffled):
        return {network.prunable[0]: _even_mask(12, share, generator)}
    masks = {}
    for name, norm in prunable_norms(network).items():
        order = torch.rand(norm.num_features, generator=generator)
        masks[name] = (order < share) | (order == order.min())
    return masks


def _even_mask(channels: int, share: float, generator: torch.Generator) -> Tensor:
    """Behind a shuffle, as many channels of each group that makes them and of each group that reads them."""
    cell = channels // GROUPS**2
    count = max(1, round(cell * share))
    order = torch.rand(GROUPS, cell, GROUPS, generator=generator)  # reader, place, maker
    return (order.argsort(1).argsort(1) < count).flatten()


def live(network: nn.Module, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Parameters and MACs of a masked network, counted by hand: what no channel that is gone has a part in.

    Every weight is made positive and every shift zero, so that a channel is zero only where nothing comes in, and has
    a gradient of zero only where nothing goes out. What a selection reads counts as read, selected or not: the tensor
    belongs to all its readers and stays whole.
    """
    twin = copy.deepcopy(network).double().eval()
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    read: list[Tensor] = []
    for layer in twin.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.weight.data = (layer.weight.data != 0).double()
            for tensor, value in ((layer.bias, 0), (layer.running_mean, 0), (layer.running_var, 1)):
                tensor.data.fill_(value)  # type: ignore[union-attr]
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data.fill_(0.5 / layer.weight[0].numel())
            if layer.bias is not None:
                layer.bias.data.zero_()
        elif isinstance(layer, ChannelSelect):
            layer.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].sum()))
            continue
        else:
            continue
        layer.register_forward_hook(_remember(seen))
    logits = twin(torch.ones(1, *shape, dtype=torch.float64))
    torch.stack([logits.sum(), *read]).sum().backward()
    params = macs = 0
    for one, (inputs, output) in seen.items():
        assert output.grad is not None
        layer: Any = one
        comes, goes = _any(inputs), _any(output.grad) & _any(output)
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            params += 2 * int(goes.sum())
            continue
        groups = getattr(layer, "groups", 1)
        pairs = sum(int(i.sum()) * int(o.sum()) for i, o in zip(comes.chunk(groups), goes.chunk(groups), strict=True))
        taps = pairs * (layer.weight[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1)
        params += taps + (int(goes.sum()) if layer.bias is not None else 0)
        macs += taps * output[0, 0].numel()
    return params, macs


def _remember(seen: dict[nn.Module, tuple[Tensor, Tensor]]) -> Any:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        seen[layer] = (inputs[0], output)

    return hook


def _any(tensor: Tensor) -> Tensor:
    """Which channels of the one image are not all zero."""
    return tensor.detach()[0].reshape(tensor.shape[1], -1).ne(0).any(1)


def widths_of(network: nn.Module) -> str:
    """The text that builds a network of these widths."""
    return "-".join(str(norm.num_features) for norm in prunable_norms(network).values())
