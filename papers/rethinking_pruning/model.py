"""The networks of "Rethinking the Value of Network Pruning" (Liu et al., ICLR 2019), before and after pruning.

Where the widths of a pruned network follow from a stated rule (predefined pruning, section 3), this file has the rule
and computes them. Where another paper's search found them, they stand here as that paper's models have them. Networks
whose channels Network Slimming chooses have no widths in advance: they come out of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from papers.densenet.model import DenseNet, layers_of
from papers.network_slimming.model import GROWTH, initialise
from shared.baselines import resnet, resnet_cifar
from shared.baselines.preact_resnet import PreactResNet
from shared.baselines.resnet import ResNet
from shared.baselines.resnet_cifar import CifarResNet
from shared.baselines.vgg import STAGES, VGG
from shared.layers.conv import conv_bn
from shared.layers.select import ChannelSelect


@dataclass(frozen=True)
class Rule:
    """Pruning by the L1 norm of filters (Li et al. 2017): how much of the first convolution of each block goes.

    Attributes:
        ratios: the share of its filters, stage by stage.
        skip: convolutions that keep all, counted from 1 for the stem; 1x1 shortcuts are not counted.
    """

    ratios: tuple[float, ...]
    skip: tuple[int, ...]

    def widths(self, blocks: Sequence[int], channels: Sequence[int]) -> str:
        """What is left of the first convolutions of a ResNet with so many blocks and channels in its stages."""
        kept: list[int] = []
        for count, full, ratio in zip(blocks, channels, self.ratios, strict=True):
            for _ in range(count):
                convolution = 2 * len(kept) + 2
                kept.append(full if convolution in self.skip else int(full * (1 - ratio)))
        return "-".join(map(str, kept))


# As the scripts of the released code state them.
RULES = {
    "resnet56_a": Rule((0.1, 0.1, 0.1), (16, 20, 38, 54)),
    "resnet56_b": Rule((0.6, 0.3, 0.1), (16, 18, 20, 34, 38, 54)),
    "resnet110_a": Rule((0.5, 0.0, 0.0), (36,)),
    "resnet110_b": Rule((0.5, 0.4, 0.3), (36, 38, 74)),
    "resnet34_a": Rule((0.3, 0.3, 0.3, 0.0), (2, 8, 14, 16, 26, 28, 30, 32)),
    "resnet34_b": Rule((0.5, 0.6, 0.4, 0.0), (2, 8, 14, 16, 26, 28, 30, 32)),
}

# Output channels of VGG-16's convolutions: VGG-Conv and VGG-GAP, and VGG-Tiny, as ThiNet released them (Luo et al.
# 2017); VGG-5x, as channel pruning by regression did (He et al. 2017).
THINET_CONV = "32-32-64-64-128-128-128-256-256-256-512-512-512"
THINET_TINY = "16-16-32-32-64-64-64-128-128-128-128-128-256"
REGRESSION_5X = "24-22-41-51-108-89-111-184-276-228-512-512-512"

# ResNet-2x of the same: for each block of ResNet-50 the channels that its branch reads of the residual stream, and the
# output channels of its first two convolutions.
REGRESSION_2X = (
    (35, 64, 55), (101, 51, 39), (97, 50, 37),
    (144, 128, 106), (205, 105, 72), (198, 105, 72), (288, 128, 110),
    (278, 256, 225), (418, 209, 147), (407, 204, 158), (423, 212, 155), (412, 211, 148), (595, 256, 213),
    (606, 512, 433), (1222, 512, 437), (1147, 512, 440),
)  # fmt: skip


def vgg16(width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 3) -> nn.Module:
    """VGG-16 for CIFAR with a hidden linear layer of 512 and its norm: the network of L1-norm pruning (table 1)."""
    network = VGG(
        16, width=width, widths=widths, hidden=True, hidden_norm=True, classes=classes, in_channels=in_channels
    )
    return initialise(network)


def vgg16_a(width: float = 1.0, classes: int = 10, in_channels: int = 3) -> nn.Module:
    """VGG-16-A (table 1): half of the filters of the first convolution and of the eighth to the last are gone."""
    full = [int(channels * width) for stage in STAGES[16] for channels in stage]
    kept = [channels // 2 if number == 1 or number >= 8 else channels for number, channels in enumerate(full, 1)]
    return vgg16(width, "-".join(map(str, kept)), classes, in_channels)


def cifar_resnet_pruned(rule: str, width: float = 1.0, classes: int = 10, in_channels: int = 3) -> nn.Module:
    """ResNet-56-A, -56-B, -110-A or -110-B (table 1); `rule` is "resnet56_a" and so on."""
    depth = 56 if rule.startswith("resnet56") else 110
    channels = [int(full * width) for full in resnet_cifar.WIDTHS]
    widths = RULES[rule].widths([(depth - 2) // 6] * 3, channels)
    return CifarResNet(depth, width=width, widths=widths, classes=classes, in_channels=in_channels)


def resnet34_pruned(rule: str, width: float = 1.0, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """ResNet-34-A or -34-B (table 1); `rule` is "resnet34_a" or "resnet34_b"."""
    channels = [int(full * width) for full in resnet.STAGE_WIDTHS]
    widths = RULES[rule].widths(resnet.BLOCKS[34], channels)
    return ResNet(34, width=width, widths=widths, classes=classes, in_channels=in_channels)


def preact_resnet110(width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 3) -> nn.Module:
    """Pre-activation ResNet-110 with bottlenecks, for unstructured pruning (table 6); its scales start at 1."""
    network = PreactResNet(110, width=width, widths=widths, classes=classes, in_channels=in_channels)
    return initialise(network, scale=1.0)


def densenet_bc100(width: float = 1.0, widths: str = "", classes: int = 10, in_channels: int = 3) -> nn.Module:
    """DenseNet-BC-100 with growth 12, for unstructured pruning (table 6); its scales start at 1."""
    network = DenseNet(
        layers_of(100, bottleneck=True),
        growth=int(GROWTH * width),
        stem=int(2 * GROWTH * width),
        bottleneck=True,
        compression=0.5,
        widths=widths,
        classes=classes,
        in_channels=in_channels,
    )
    return initialise(network, scale=1.0)


def thinet_resnet50(keep: float, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """ThiNet-30, -50 and -70 (table 2): the share `keep` of the inner channels of every block of ResNet-50."""
    widths = [
        int(channels * keep)
        for channels, count in zip(resnet.STAGE_WIDTHS, resnet.BLOCKS[50], strict=True)
        for _ in range(2 * count)
    ]
    return ResNet(50, widths="-".join(map(str, widths)), classes=classes, in_channels=in_channels)


def resnet50_2x(classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """ResNet-2x (table 3): ResNet-50 of which every branch also chooses what it reads of the residual stream."""
    widths = "-".join(f"{first}-{second}" for _, first, second in REGRESSION_2X)
    network = ResNet(50, widths=widths, classes=classes, in_channels=in_channels)
    for block, (read, first, _) in zip(_blocks(network), REGRESSION_2X, strict=True):
        channels = block.body[0][0].in_channels
        block.body[0] = nn.Sequential(ChannelSelect(channels, read), *conv_bn(read, first, 1, act=nn.ReLU))
    initialise(network, scale=1.0)
    network.prunable = ()  # what is left was chosen elsewhere
    return network


def sss_resnet(blocks: str, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """ResNet-50 after sparse structure selection (table 5), which takes out whole residual branches.

    Args:
        blocks: of each stage how many branches stay, joined by hyphens; with an "f" behind it, when the first of the
            stage is one of them. Of a first one that goes the projecting shortcut is left.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: the text does not fit the stages of ResNet-50.
    """
    network = ResNet(50, classes=classes, in_channels=in_channels)
    stages = blocks.split("-")
    if len(stages) != len(network.stages):
        raise ValueError(f"blocks gives {len(stages)} stages, ResNet-50 has {len(network.stages)}")
    for number, text in enumerate(stages):
        first, *others = cast("Any", network.stages[number])
        count = text.removesuffix("f")
        begins = [first] if text.endswith("f") else [nn.Sequential(first.shortcut, first.relu)]
        following = int(count) - (1 if text.endswith("f") else 0) if count.isdecimal() else -1
        if not 0 <= following <= len(others):
            raise ValueError(f"stage {number + 1} of ResNet-50 cannot keep {text!r} of its {len(others) + 1} branches")
        network.stages[number] = nn.Sequential(*begins, *others[:following])
    network.prunable = ()  # the names of what is left are others
    return network


def _blocks(network: ResNet) -> Iterator[Any]:
    return (block for stage in network.stages for block in cast("Any", stage))
