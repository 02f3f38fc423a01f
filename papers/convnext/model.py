"""ConvNeXt: a ConvNet for the 2020s (Liu et al., CVPR 2022).

A plain ConvNet with the proportions of a hierarchical Transformer: a stem that cuts the image into patches, four stages
of one block (section 2, figure 4), and a layer of its own for each reduction of resolution. The first part of this file
is the block, the second the network in its five sizes (section 3), the third the isotropic network (section 3.3), which
keeps one resolution as ViT does. How the authors came here from a ResNet, step by step, is in roadmap.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shared.layers.drop_path import DropPath, linear_rates

KERNEL = 7  # of the depthwise convolutions (section 2.5)
EXPANSION = 4  # hidden over outer channels of a block (section 2.4)
EPS = 1e-6  # of every layer normalisation
LAYER_SCALE = 1e-6  # what gamma begins with (table 5)
INIT_STD = 0.02  # of the official code; table 5 prints 0.2

# Channels and blocks of the four stages (section 3).
SIZES = {
    "tiny": ((96, 192, 384, 768), (3, 3, 9, 3)),
    "small": ((96, 192, 384, 768), (3, 3, 27, 3)),
    "base": ((128, 256, 512, 1024), (3, 3, 27, 3)),
    "large": ((192, 384, 768, 1536), (3, 3, 27, 3)),
    "xlarge": ((256, 512, 1024, 2048), (3, 3, 27, 3)),
}
# Channels, blocks, and whether blocks have a layer scale (section 3.3; the last from the official code).
ISOTROPIC = {"small": (384, 18, False), "base": (768, 18, False), "large": (1024, 36, True)}


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (N, C, H, W), at each place by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """x + DropPath(gamma * project(GELU(expand(LN(depthwise(x)))))) (figure 4): (N, C, H, W) to the same shape.

    Args:
        channels: C.
        drop_path: how often the branch is left out in training.
        layer_scale: the branch is scaled by gamma, one learnt number a channel.
    """

    def __init__(self, channels: int, drop_path: float = 0.0, layer_scale: bool = True) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), LAYER_SCALE)) if layer_scale else None
        self.depthwise = nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.expand = nn.Linear(channels, EXPANSION * channels)
        self.act = nn.GELU()
        self.project = nn.Linear(EXPANSION * channels, channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        branch = self.norm(self.depthwise(x).permute(0, 2, 3, 1))  # the linear layers want channels last
        branch = self.project(self.act(self.expand(branch)))
        if self.gamma is not None:
            branch = branch * self.gamma
        return x + self.drop_path(branch.permute(0, 3, 1, 2))


class Stage(nn.Module):
    """Blocks at one resolution, behind the layer that halves it: (N, in, H, W) to (N, C, H / 2, W / 2).

    Args:
        in_channels: of the input.
        channels: C.
        rates: of stochastic depth, one for each block.
        layer_scale: see `Block`.
        first: the stage behind the stem, which halves nothing.
    """

    def __init__(
        self, in_channels: int, channels: int, rates: Sequence[float], *, layer_scale: bool, first: bool
    ) -> None:
        super().__init__()
        self.downsample = nn.Sequential()  # the identity
        if not first:
            self.downsample.extend([LayerNorm2d(in_channels), nn.Conv2d(in_channels, channels, 2, 2)])
        self.blocks = nn.Sequential(*(Block(channels, rate, layer_scale) for rate in rates))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, C, H / 2, W / 2); of an odd height or width the last line is left out."""
        return self.blocks(self.downsample(x))


class ConvNeXt(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Args:
        widths: channels of each stage.
        depths: blocks of each stage.
        patch: side of the stem's patches; 4, and less for images of few pixels.
        drop_path: of the last block; it rises linearly from 0 in the first.
        layer_scale: see `Block`.
        head_scale: factor on what the classifier begins with (0.001 in fine-tuning, table 6).
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: a stage without channels or without blocks, or a rate that stochastic depth does not have.
    """

    def __init__(
        self,
        widths: Sequence[int],
        depths: Sequence[int],
        *,
        patch: int = 4,
        drop_path: float = 0.0,
        layer_scale: bool = True,
        head_scale: float = 1.0,
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths) or min(*widths, *depths) < 1:
            raise ValueError(f"every stage needs channels and blocks, not {tuple(widths)} and {tuple(depths)}")
        self.stem = nn.Sequential(nn.Conv2d(in_channels, widths[0], patch, patch), LayerNorm2d(widths[0]))
        rates = linear_rates(drop_path, sum(depths))
        stages, channels = [], widths[0]
        for place, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            own, rates = rates[:depth], rates[depth:]
            stages.append(Stage(channels, width, own, layer_scale=layer_scale, first=place == 0))
            channels = width
        self.stages = nn.ModuleList(stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)
        scale_head(self.classifier, head_scale)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the stages, named "stage1" and so on, at strides 4, 8, 16 and 32."""
        x = self.stem(images)
        taps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = taps[f"stage{number}"] = stage(x)
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        last = self.features(images)[f"stage{len(self.stages)}"]
        return self.classifier(self.norm(self.pool(last).flatten(1)))


class IsotropicConvNeXt(nn.Module):
    """Blocks of one width at one resolution, that of 16 x 16 patches (section 3.3): images to logits (N, classes).

    Args:
        channels: of every block.
        depth: number of blocks.
        patch: side of the stem's patches.
        drop_path: of the last block; it rises linearly from 0 in the first.
        layer_scale: see `Block`.
        classes: number of classes.
        in_channels: of the images.
    """

    def __init__(
        self,
        channels: int,
        depth: int,
        *,
        patch: int = 16,
        drop_path: float = 0.0,
        layer_scale: bool = False,
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, channels, patch, patch)
        self.blocks = nn.Sequential(*(Block(channels, rate, layer_scale) for rate in linear_rates(drop_path, depth)))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.norm = nn.LayerNorm(channels, eps=EPS)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.norm(self.pool(self.blocks(self.stem(images))).flatten(1)))


def convnext(
    size: str,
    width: float = 1.0,
    patch: int = 4,
    drop_path: float = 0.0,
    head_scale: float = 1.0,
    classes: int = 1000,
    in_channels: int = 3,
) -> ConvNeXt:
    """ConvNeXt-T, -S, -B, -L and -XL: `size` is of `SIZES`, `width` a factor on every channel count.

    The other arguments are those of `ConvNeXt`.
    """
    full, depths = SIZES[size]
    return ConvNeXt(
        scaled(full, width), depths, patch=patch, drop_path=drop_path, head_scale=head_scale,
        classes=classes, in_channels=in_channels,
    )  # fmt: skip


def convnext_isotropic(
    size: str, width: float = 1.0, patch: int = 16, drop_path: float = 0.0, classes: int = 1000, in_channels: int = 3
) -> IsotropicConvNeXt:
    """ConvNeXt-S, -B and -L (iso.): `size` is of `ISOTROPIC`, `width` a factor on the channels."""
    full, depth, layer_scale = ISOTROPIC[size]
    (channels,) = scaled([full], width)
    return IsotropicConvNeXt(
        channels, depth, patch=patch, drop_path=drop_path, layer_scale=layer_scale,
        classes=classes, in_channels=in_channels,
    )  # fmt: skip


def scaled(full: Sequence[int], width: float) -> list[int]:
    """`width` times every number of channels, rounded down; ValueError when that leaves none."""
    if full[0] * width < 1:
        raise ValueError(f"a width of {width:g} leaves no channel of {full[0]}")
    return [int(channels * width) for channels in full]


def initialise(network: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers from a truncated normal distribution; no bias to begin with.

    It is cut at -2 and 2, as PyTorch has it: so far out that nothing is cut.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=INIT_STD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def scale_head(classifier: nn.Linear, factor: float) -> None:
    """Multiply what a classifier begins with."""
    with torch.no_grad():
        classifier.weight.mul_(factor)
        classifier.bias.mul_(factor)
