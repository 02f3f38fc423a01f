"""ResNet-20/32/44/56/110 for small images (He et al. 2016, section 4.2): three stages, parameter-free shortcuts."""

from __future__ import annotations

import itertools
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.layers import Attention
from shared.layers.conv import conv_bn
from shared.layers.widths import parse_widths

WIDTHS = (16, 32, 64)


class BlockConv(Protocol):
    """Makes the 3x3 convolution of a block, with its normalisation and activation (None: linear)."""

    def __call__(self, in_channels: int, out_channels: int, *, stride: int, act: type[nn.Module] | None) -> nn.Module:
        """A module from (N, in, H, W) to (N, out, H / stride, W / stride)."""


def plain(in_channels: int, out_channels: int, *, stride: int, act: type[nn.Module] | None) -> nn.Module:
    """A 3x3 convolution and batch normalisation."""
    return conv_bn(in_channels, out_channels, 3, stride, act=act)


class Shortcut(nn.Module):
    """Option A, without parameters: every second pixel when it strides, and zeros for the new channels."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            # Half of the zeros before and half after, as published checkpoints of this network have it.
            before = self.new_channels // 2
            x = functional.pad(x, (0, 0, 0, 0, before, self.new_channels - before))
        return x


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and the shortcut beside them.

    `inner` channels stand between the convolutions, `out_channels` when it is not given. With `gated` a learned number,
    `gate`, from 1 on, scales what is added to the shortcut (Huang and Wang, ECCV 2018, section 3.2).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        conv: BlockConv,
        attention: Attention | None = None,
        inner: int | None = None,
        *,
        gated: bool = False,
    ) -> None:
        super().__init__()
        inner = out_channels if inner is None else inner
        self.conv1 = conv(in_channels, inner, stride=stride, act=nn.ReLU)
        self.conv2 = conv(inner, out_channels, stride=1, act=None)
        self.attention = nn.Identity() if attention is None else attention(out_channels)
        self.shortcut = Shortcut(in_channels, out_channels, stride)
        self.gate = nn.Parameter(torch.ones(())) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / stride, W / stride)."""
        branch = self.attention(self.conv2(self.conv1(x)))
        if self.gate is not None:
            branch = self.gate * branch
        return functional.relu(branch + self.shortcut(x))


class CifarResNet(nn.Module):
    """(N, in_channels, H, W) to logits (N, classes).

    Args:
        depth: 6 n + 2 for n blocks in each stage.
        conv: makes the convolutions of the blocks; the stem stays plain.
        attention: makes a module for the end of each residual branch, before the addition.
        width: factor on every channel count.
        widths: channels between the two convolutions of each block that has a branch, joined by hyphens; as many as
            come out when empty.
        gates: multiply each residual branch by a learned number.
        branches: 1 for a block with its residual branch, 0 for one that is only shortcut and ReLU, joined by hyphens;
            all have theirs when empty.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the depth is not 6 n + 2, the width leaves no channel, the widths or branches do not fit the blocks,
            or gates stand in a network that is not whole and plain: a gate is to become part of its branch's last norm,
            and to choose among all branches.
    """

    def __init__(
        self,
        depth: int,
        conv: BlockConv = plain,
        *,
        attention: Attention | None = None,
        width: float = 1.0,
        widths: str = "",
        gates: bool = False,
        branches: str = "",
        classes: int = 10,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"the depth must be 6 n + 2 (20, 32, 44, 56, 110), not {depth}")
        full = [int(channels * width) for channels in WIDTHS]
        if full[0] < 1:
            raise ValueError(f"a width of {width:g} leaves no channel of {WIDTHS[0]}")
        if gates and (widths or branches or attention or conv is not plain):
            raise ValueError("gates need the whole plain network: no widths, branches, attention or other convolution")
        stays = _parse_branches(branches, 3 * blocks)
        outputs = [channels for channels in full for _ in range(blocks)]
        inner = iter(parse_widths(widths, list(itertools.compress(outputs, stays))))
        channels = full[0]
        self.stem = plain(in_channels, channels, stride=1, act=nn.ReLU)
        layers: list[nn.Module] = []
        for number, (out_channels, has_branch) in enumerate(zip(outputs, stays, strict=True)):
            stride = 2 if number in (blocks, 2 * blocks) else 1
            if has_branch:
                layers.append(BasicBlock(channels, out_channels, stride, conv, attention, next(inner), gated=gates))
            else:
                layers.append(nn.Sequential(Shortcut(channels, out_channels, stride), nn.ReLU()))
            channels = out_channels
        self.blocks = nn.Sequential(*layers)
        norms = tuple(f"blocks.{number}.conv1.1" for number, has_branch in enumerate(stays) if has_branch)
        # A convolution of another kind need not end in a norm, nor have one channel of it for each filter.
        self.prunable = norms if conv is plain else ()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # the initialisation the ResNet paper cites (He et al. 2015)
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The outputs of the three stages, named "stage1" to "stage3", at strides 1, 2 and 4."""
        x = self.stem(images)
        taps = {}
        of_stage = len(self.blocks) // len(WIDTHS)
        for number, block in enumerate(self.blocks, start=1):
            x = block(x)
            if number % of_stage == 0:
                taps[f"stage{number // of_stage}"] = x
        return taps

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)["stage3"]).flatten(1))


def _parse_branches(branches: str, blocks: int) -> list[bool]:
    """Whether each block has its branch."""
    stays = branches.split("-") if branches else ["1"] * blocks
    if len(stays) != blocks or not set(stays) <= {"0", "1"}:
        raise ValueError(f"branches is {branches!r}; it is 0 or 1 for each of the {blocks} blocks, joined by hyphens")
    return [one == "1" for one in stays]
