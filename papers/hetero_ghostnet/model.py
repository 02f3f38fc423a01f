"""G-Ghost stages (Han et al., IJCV 2022): cheap operations across the blocks of a stage instead of within a layer.

A stage of n blocks makes Y_n = L_n(... L_1(X)). Many of its channels look like those of Y_1, so a G-Ghost stage splits
the output: the *complicated* features Y_n^c = L'_n(... L'_2(Y_1)) come from blocks with (1 - lambda) c channels, the
*ghost* features from a cheap operation on Y_1 and from what *mix* knows of the blocks between,

    Y_n^g = ReLU(C(Y_1) + tau(Z)),   Z = [Y_2^c, ..., Y_n^c],   tau(Z) = W Pool(Z) + b,   Y_n = [Y_n^c, Y_n^g].

The paper's equations and its two published codes are three different stages; each is a function below, and all are made
of the same parts. C-GhostNet is the GhostNet of CVPR 2020 under another name: papers/ghostnet.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from papers.hetero_ghostnet import regnet
from shared.baselines import resnet
from shared.layers.conv import conv_bn

Form = Literal["code", "paper"]
NARROWER = 0.75  # group width of the narrow blocks over that of the others, in the released G-Ghost-RegNet
LEAST_BLOCKS = 3  # of a stage that becomes a G-Ghost stage


class Channels(nn.Module):
    """(N, C, H, W) to the channels from `start` up to `stop`."""

    def __init__(self, start: int, stop: int) -> None:
        super().__init__()
        self.start, self.stop = start, stop

    def forward(self, x: Tensor) -> Tensor:
        """The channels; no copy is made."""
        return x[:, self.start : self.stop]

    def extra_repr(self) -> str:
        """From which up to which."""
        return f"{self.start}, {self.stop}"


class GhostStage(nn.Module):
    """A G-Ghost stage out of its parts; (N, in, H, W) to (N, c, H', W').

    Args:
        first: L_1, from X to Y_1 with c channels.
        entry: what the complicated path begins with, from Y_1.
        path: L'_2, L'_3, ...: the narrow blocks.
        cheap: C, from Y_1 to the ghost features.
        mix: tau, from the pooled features, one after another (N, C, 1, 1), to (N, ghosts, 1, 1); None leaves it out.
        mixes_first: whether Y_1 is one of them.
        last: what follows the concatenation.

    In training, normalisation within `mix` sees one value for each image: it needs batches of at least two.
    """

    def __init__(
        self,
        first: nn.Module,
        entry: nn.Module,
        path: Iterable[nn.Module],
        cheap: nn.Module,
        mix: nn.Module | None,
        *,
        mixes_first: bool,
        last: nn.Module,
    ) -> None:
        super().__init__()
        self.first = first
        self.entry = entry
        self.path = nn.ModuleList(path)
        self.cheap = cheap
        self.mix = mix
        self.mixes_first = mixes_first
        self.last = last
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Intrinsic (complicated) features first, then their ghosts."""
        first = self.first(x)
        intrinsic = self.entry(first)
        between = [first] if self.mixes_first else []
        for block in self.path:
            intrinsic = block(intrinsic)
            between.append(intrinsic)
        ghosts = self.cheap(first)
        if self.mix is not None:
            ghosts = ghosts + self.mix(torch.cat([self.pool(features) for features in between], 1))
        return self.last(torch.cat([intrinsic, self.relu(ghosts)], 1))


def paper_stage(
    in_channels: int,
    channels: int,
    blocks: int,
    group_width: int,
    *,
    ratio: float = 0.5,
    kernel: int = 1,
    mix: bool = True,
) -> GhostStage:
    """The stage of the equations, of X blocks: n - 1 narrow ones that end it, and one linear layer as tau.

    What they leave open is chosen so: the narrow blocks keep the group width, (1 - lambda) c is rounded to a multiple
    of it, the cheap operation has batch normalisation, and the ReLU follows the sum, as in the drawing of mix.

    Args:
        in_channels: of X.
        channels: c.
        blocks: n.
        group_width: of the blocks.
        ratio: lambda, the share of ghost features.
        kernel: of the cheap convolution.
        mix: whether the features between are mixed in.
    """
    narrow = regnet.whole_groups((1 - ratio) * channels, min(channels, group_width))
    ghosts = _ghosts(channels, narrow, ratio)
    return GhostStage(
        regnet.Block(in_channels, channels, 2, group_width),
        nn.Identity(),
        [regnet.Block(channels if place == 0 else narrow, narrow, 1, group_width) for place in range(blocks - 1)],
        conv_bn(channels, ghosts, kernel, act=None),
        nn.Conv2d((blocks - 1) * narrow, ghosts, 1) if mix else None,
        mixes_first=False,
        last=nn.Identity(),
    )


def code_stage(
    in_channels: int,
    channels: int,
    blocks: int,
    group_width: int,
    *,
    ratio: float = 0.5,
    kernel: int = 1,
    mix: bool = True,
) -> GhostStage:
    """The stage of the released G-Ghost-RegNet; for the arguments see `paper_stage`.

    It differs from the equations: n - 2 narrow blocks and a last one of full width behind the concatenation; the
    complicated path begins with the first channels of Y_1 and the cheap operation sees the others alone; tau is two
    layers with normalisation and sees Y_1 too; groups of the narrow blocks are three quarters as wide, and their
    channels are cut to a multiple of that, so that lambda becomes 0.5 to 0.625.
    """
    group = max(1, int(NARROWER * group_width))
    narrow = int(channels * (1 - ratio) / group) * group
    ghosts = _ghosts(channels, narrow, ratio)
    return GhostStage(
        regnet.Block(in_channels, channels, 2, group_width),
        Channels(0, narrow),
        [regnet.Block(narrow, narrow, 1, group) for _ in range(blocks - 2)],
        nn.Sequential(Channels(narrow, channels), *conv_bn(ghosts, ghosts, kernel, act=None)),
        nn.Sequential(
            *conv_bn(channels + (blocks - 2) * narrow, ghosts, 1, act=nn.ReLU), *conv_bn(ghosts, ghosts, 1, act=None)
        )
        if mix
        else None,
        mixes_first=True,
        last=regnet.Block(channels, channels, 1, group_width),
    )


def _ghosts(channels: int, narrow: int, ratio: float) -> int:
    """The ghost features beside so many complicated ones."""
    if not 0 < narrow < channels:
        raise ValueError(
            f"ratio {ratio} leaves {narrow} of {channels} channels to the narrow blocks; choose one nearer to 0.5"
        )
    return channels - narrow


def g_ghost_regnetx(
    size: str,
    form: Form = "code",
    ratio: float = 0.5,
    kernel: int = 1,
    mix: bool = True,
    width: float = 1.0,
    stem_stride: int = 2,
    dropout: float = 0.0,
    classes: int = 1000,
    in_channels: int = 3,
) -> regnet.RegNetX:
    """RegNetX with G-Ghost stages: all of three blocks or more but the first stage.

    The release trains with a dropout of 0.2, which its RegNet has not; neither has it here unless it is asked for.

    Args:
        size: a name of regnet.SIZES.
        form: "code" (`code_stage`) or "paper" (`paper_stage`).
        ratio: lambda, the share of ghost features.
        kernel: of the cheap convolution, odd.
        mix: whether the features between are mixed in.
        width: see `RegNetX`, as for the rest.
        stem_stride: 1 for small images.
        dropout: before the classifier.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: an unknown form or size, an even kernel, a ratio that leaves a path without channels.
    """
    if form not in ("code", "paper"):
        raise ValueError(f"form must be code or paper, not {form}")
    _odd(kernel)
    make = functools.partial(code_stage if form == "code" else paper_stage, ratio=ratio, kernel=kernel, mix=mix)

    def stage(number: int, in_channels: int, out_channels: int, blocks: int, group_width: int) -> nn.Module:
        if number == 1 or blocks < LEAST_BLOCKS:
            return regnet.plain_stage(number, in_channels, out_channels, blocks, group_width)
        return make(in_channels, out_channels, blocks, group_width)

    return regnet.RegNetX(
        size,
        stage,
        width=width,
        stem_stride=stem_stride,
        dropout=dropout,
        classes=classes,
        in_channels=in_channels,
    )


def _odd(kernel: int) -> None:
    if kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, not {kernel}: an even one would change the size of the ghosts")


def resnet_stage(
    in_channels: int, width: int, blocks: int, stride: int, form: Form, entry: Literal["conv", "slice"]
) -> GhostStage:
    """A G-Ghost stage of bottlenecks with 4 `width` output channels, lambda 0.5.

    "code" is the stage of the Ascend network (GhostNet_D): a last block of full width behind the concatenation; tau is
    one convolution with normalisation and sees Y_1 too. Its complicated path begins with a 1x1 convolution of Y_1,
    since slices are slow on that chip, and its cheap operation sees all of Y_1 ("conv"); or each has one half of the
    channels ("slice"). "paper" follows the equations, as `paper_stage` does: both see all of Y_1.
    """

    def block(in_channels: int, width: int, stride: int = 1) -> nn.Module:
        return resnet.Block(in_channels, width, stride, resnet.plain, bottleneck=True)

    channels, half = 4 * width, 2 * width
    first, cheap = block(in_channels, width, stride), conv_bn(channels, half, 1, act=None)
    if form == "paper":
        path = [block(channels if place == 0 else half, width // 2) for place in range(blocks - 1)]
        mix: nn.Module = nn.Conv2d((blocks - 1) * half, half, 1)
        return GhostStage(first, nn.Identity(), path, cheap, mix, mixes_first=False, last=nn.Identity())
    sliced = nn.Sequential(Channels(half, channels), *conv_bn(half, half, 1, act=None))
    return GhostStage(
        first,
        nn.Conv2d(channels, half, 1, bias=False) if entry == "conv" else Channels(0, half),
        [block(half, width // 2) for _ in range(blocks - 2)],
        cheap if entry == "conv" else sliced,
        conv_bn(channels + (blocks - 2) * half, half, 1, act=None),
        mixes_first=True,
        last=block(channels, width),
    )


def g_ghost_resnet(
    depth: int,
    form: Form = "code",
    entry: Literal["conv", "slice"] = "conv",
    stages: Literal["all", "third"] = "all",
    classes: int = 1000,
    in_channels: int = 3,
) -> resnet.ResNet:
    """ResNet-50, -101 or -152 with G-Ghost stages; with the defaults of depth 101 it is GhostNet_D-101.

    Args:
        depth: 50, 101 or 152.
        form: "code" or "paper"; see `resnet_stage`.
        entry: of the code's complicated path, "conv" or "slice"; the paper's has neither.
        stages: which of the four are G-Ghost stages, "all" or the "third", the longest.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: an unknown form, entry or choice of stages; a depth whose blocks are no bottlenecks.
    """
    for name, value, known in (
        ("form", form, ("code", "paper")),
        ("entry", entry, ("conv", "slice")),
        ("stages", stages, ("all", "third")),
    ):
        if value not in known:
            raise ValueError(f"{name} must be {' or '.join(known)}, not {value}")
    if depth in resnet.BASIC_DEPTHS:
        raise ValueError(f"depth must be 50, 101 or 152, whose blocks are bottlenecks, not {depth}")
    network = resnet.ResNet(depth, classes=classes, in_channels=in_channels)
    channels = resnet.STAGE_WIDTHS[0]
    for place, (width, blocks) in enumerate(zip(resnet.STAGE_WIDTHS, resnet.BLOCKS[depth], strict=True)):
        if stages == "all" or place == 2:
            network.stages[place] = resnet_stage(channels, width, blocks, 2 if place else 1, form, entry)
        channels = 4 * width
    network.prunable = ()  # its names are those of plain stages
    for module in network.stages.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
