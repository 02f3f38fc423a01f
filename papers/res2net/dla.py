"""DLA-60 (Yu et al., Deep Layer Aggregation, CVPR 2018) with Res2Net's ladder in its bottlenecks (section 4.2).

Stages are trees: two halves are computed one after the other, and a 1x1 convolution (the root) merges them with what
the tree was handed from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from papers.res2net.model import Splits, branch, initialise
from shared.layers.conv import conv_bn

CHANNELS = (128, 256, 512, 1024)
LEVELS = (1, 2, 3, 1)  # the height of each stage's tree

# Makes a block's residual branch from its input and output channels and its stride.
Branch = Callable[[int, int, int], nn.Module]


class Leaf(nn.Module):
    """A bottleneck whose shortcut is given: x (N, in, H, W) and (N, out, h, w) to (N, out, h, w)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """The sum of the branch and of the shortcut, rectified."""
        return self.relu(self.body(x) + shortcut)


class Tree(nn.Module):
    """(N, in, H, W) to (N, out, H / stride, W / stride).

    Args:
        level: height; a tree of height 1 has two leaves.
        in_channels: of the input.
        out_channels: of each leaf and of the root.
        stride: of the first leaf.
        make: the branches of the leaves.
        handed: channels of what the root merges besides its two leaves.
        keep_input: the root merges the (pooled) input of the whole tree, too; so do the stages behind the first.
    """

    def __init__(
        self,
        level: int,
        in_channels: int,
        out_channels: int,
        stride: int,
        make: Branch,
        *,
        handed: int = 0,
        keep_input: bool = False,
    ) -> None:
        super().__init__()
        self.keep_input = keep_input
        handed += in_channels * keep_input
        self.pool = nn.MaxPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        if level > 1:
            self.left: nn.Module = Tree(level - 1, in_channels, out_channels, stride, make)
            self.right: nn.Module = Tree(level - 1, out_channels, out_channels, 1, make, handed=handed + out_channels)
            return
        same = in_channels == out_channels
        self.project = nn.Identity() if same else conv_bn(in_channels, out_channels, 1, act=None)
        self.left = Leaf(make(in_channels, out_channels, stride))
        self.right = Leaf(make(out_channels, out_channels, 1))
        self.root = conv_bn(2 * out_channels + handed, out_channels, 1, act=nn.ReLU)

    def forward(self, x: Tensor, handed: tuple[Tensor, ...] = ()) -> Tensor:
        """The output of the root, or of the right half's root."""
        pooled = self.pool(x)
        if self.keep_input:
            handed = (*handed, pooled)
        if isinstance(self.left, Tree):
            left = self.left(x)
            return self.right(left, (*handed, left))
        left = self.left(x, self.project(pooled))
        return self.root(torch.cat([self.right(left, left), left, *handed], 1))


class DLA60(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes); `make` gives the residual branch of every bottleneck."""

    def __init__(self, make: Branch, *, classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(in_channels, 16, 7, act=nn.ReLU),
            conv_bn(16, 16, 3, act=nn.ReLU),
            conv_bn(16, 32, 3, 2, act=nn.ReLU),
        )
        trees, channels = [], 32
        for stage, (level, outputs) in enumerate(zip(LEVELS, CHANNELS, strict=True)):
            trees.append(Tree(level, channels, outputs, 2, make, keep_input=stage > 0))
            channels = outputs
        self.stages = nn.ModuleList(trees)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the four stages, named "stage1" to "stage4", at strides 4, 8, 16 and 32."""
        x = self.stem(images)
        taps = {}
        for number, stage in enumerate(self.stages, start=1):
            x = taps[f"stage{number}"] = stage(x)
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)["stage4"]).flatten(1))


def dla60(
    width: int = 64, scale: int = 1, cardinality: int = 1, classes: int = 1000, in_channels: int = 3
) -> nn.Module:
    """DLA-60 (scale 1), or its Res2Net or Res2NeXt form: (N, in_channels, H, W) to logits (N, classes).

    Only a block with a stride is built without the ladder's additions, as the released weights have it.

    Args:
        width: w, channels of one group and one unit of cardinality where a plain bottleneck has 64.
        scale: s.
        cardinality: c.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: a number is below 1.
    """
    make = partial(_branch, Splits(width, scale, cardinality))
    return DLA60(make, classes=classes, in_channels=in_channels)


def _branch(splits: Splits, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A bottleneck of `out_channels` is half as wide inside, so that 128 of them have 64 with the paper's widths."""
    inside = splits.wider(out_channels // CHANNELS[0])
    return branch(in_channels, out_channels, inside, stride=stride, first="pool" if stride > 1 else None)
