"""VGG-11 and VGG-16 for ImageNet (Simonyan and Zisserman 2015, table 1, columns A and D) and their pruned relatives."""

from __future__ import annotations

from itertools import chain
from typing import Literal

from torch import Tensor, nn

from shared.baselines.vgg import STAGES
from shared.layers.widths import parse_widths

HIDDEN = 4096
POOLED = 7  # pixels a side of the maps that the hidden linear layers read, of 224 in the image

Head = Literal["norm", "dropout", "pool"]
HEADS = ("norm", "dropout", "pool")


class ImageNetVGG(nn.Module):
    """(N, in_channels, H, W) of 32 pixels a side or more to logits (N, classes).

    Weights start as PyTorch's layers draw them. Convolutions in front of a batch normalisation have no bias, which it
    would take away again; published weights of VGG with batch normalisation have one.

    Args:
        depth: 11 or 16.
        norm: a batch normalisation stands behind each convolution.
        head: two hidden linear layers, with batch normalisation ("norm", Network Slimming) or with dropout ("dropout",
            the original); or the mean over the last maps, without a pooling before it ("pool", VGG-GAP of ThiNet).
        width: factor on every channel count.
        widths: output channels of the convolutions, and then of the hidden layers that have a norm, joined by hyphens;
            the full ones when empty.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no such depth or head, the width leaves no channel, or the widths do not fit the layers.
    """

    def __init__(
        self,
        depth: int,
        *,
        norm: bool = True,
        head: Head = "norm",
        width: float = 1.0,
        widths: str = "",
        classes: int = 1000,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth not in STAGES or head not in HEADS:
            known = f"{', '.join(map(str, STAGES))}, the head one of {', '.join(HEADS)}"
            raise ValueError(f"the depth must be one of {known}, not {depth} and {head}")
        full = [[int(channels * width) for channels in stage] for stage in STAGES[depth]]
        if full[0][0] < 1:
            raise ValueError(f"a width of {width:g} leaves no channel of {STAGES[depth][0][0]}")
        hidden = [] if head == "pool" else [int(HIDDEN * width)] * 2
        prunable = [*chain.from_iterable(full), *(hidden if head == "norm" else [])]
        kept = iter(parse_widths(widths, prunable))
        layers: list[nn.Module] = []
        channels = in_channels
        for number, stage in enumerate(full):
            if number:
                layers.append(nn.MaxPool2d(2))
            for _ in stage:
                out_channels = next(kept)
                layers.append(nn.Conv2d(channels, out_channels, 3, padding=1, bias=not norm))
                layers += [nn.BatchNorm2d(out_channels)] if norm else []
                layers.append(nn.ReLU(inplace=True))
                channels = out_channels
        if head != "pool":
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        size = 1 if head == "pool" else POOLED
        self.pool = nn.AdaptiveAvgPool2d(size)
        layers = []
        channels *= size * size
        for most in hidden:
            out_channels = next(kept) if head == "norm" else most
            layers.append(nn.Linear(channels, out_channels))
            layers += [nn.BatchNorm1d(out_channels)] if head == "norm" else []
            layers.append(nn.ReLU(inplace=True))
            layers += [nn.Dropout()] if head == "dropout" else []
            channels = out_channels
        self.classifier = nn.Sequential(*layers, nn.Linear(channels, classes))
        self.prunable = tuple(
            name for name, layer in self.named_modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, in_channels, H, W)."""
        return self.classifier(self.pool(self.features(images)).flatten(1))
