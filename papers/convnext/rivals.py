"""What ConvNeXt is compared with by multiply-adds: Swin Transformer and the Vision Transformer, to be counted.

Swin's stages are MMDetection's and the Vision Transformer's blocks are PyTorch's; what makes them classifiers is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from shared.detection import build

# Channels of the first stage, blocks of each stage; a head has 32 channels (Liu et al. 2021, section 3.3).
SWIN = {
    "tiny": (96, (2, 2, 6, 2)),
    "small": (96, (2, 2, 18, 2)),
    "base": (128, (2, 2, 18, 2)),
    "large": (192, (2, 2, 18, 2)),
}
# Channels, blocks, heads (Dosovitskiy et al. 2021, table 1; small: Touvron et al. 2021, table 1).
VIT = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}


def swin_config(size: str, **options: Any) -> dict[str, Any]:
    """MMDetection's model dictionary of Swin's four stages; ValueError where there is no such size."""
    known(size, SWIN)
    channels, depths = SWIN[size]
    heads = tuple(channels // 32 * 2**stage for stage in range(4))
    return {"type": "SwinTransformer", "embed_dims": channels, "depths": depths, "num_heads": heads, **options}


def swin_widths(size: str) -> list[int]:
    """Channels of the four stages."""
    return [SWIN[size][0] * 2**stage for stage in range(4)]


def swin_stages(size: str, **options: Any) -> nn.Module:
    """Images (N, 3, H, W) to the outputs of Swin's stages; PapertrailError where MMDetection is missing."""
    config = swin_config(size, **options)
    build.require()
    from mmdet.registry import MODELS

    with RatesOnCpu():
        stages: nn.Module = MODELS.build(config)
    return stages


class RatesOnCpu(TorchFunctionMode):
    """In it Swin can be built on the meta device: MMDetection reads the rates of stochastic depth from a tensor."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls the function as it is, but for `linspace`, whose tensor is to have values."""
        own = {"device": "cpu"} if function is torch.linspace else {}
        return function(*args, **(kwargs or {}) | own)


class Swin(nn.Module):
    """Images (N, in_channels, H, W) to logits (N, classes); `swin` says what the arguments are."""

    def __init__(self, size: str, window: int, classes: int, in_channels: int) -> None:
        super().__init__()
        self.stages = swin_stages(size, window_size=window, in_channels=in_channels, out_indices=(3,))
        self.classifier = nn.Linear(swin_widths(size)[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes)."""
        (last,) = self.stages(images)
        return self.classifier(last.mean((2, 3)))


class ViT(nn.Module):
    """Images (N, in_channels, side, side) to logits (N, classes); `vit` says what the arguments are."""

    def __init__(self, size: str, side: int, classes: int, in_channels: int) -> None:
        super().__init__()
        channels, depth, heads = VIT[size]
        self.patches = nn.Conv2d(in_channels, channels, 16, stride=16)
        self.token = nn.Parameter(torch.zeros(1, 1, channels))
        self.places = nn.Parameter(torch.zeros(1, (side // 16) ** 2 + 1, channels))
        block = nn.TransformerEncoderLayer(
            channels, heads, 4 * channels, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(channels), enable_nested_tensor=False)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, classes), of the class token alone."""
        patches = self.patches(images).flatten(2).transpose(1, 2)
        words = torch.cat([self.token.expand(len(patches), -1, -1), patches], dim=1)
        return self.classifier(self.blocks(words + self.places)[:, 0])


def swin(size: str = "tiny", window: int = 7, *, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """Swin Transformer (Liu et al. 2021).

    Args:
        size: tiny, small, base or large.
        window: side of an attention window in patches: 7 for images of 224, 12 for images of 384.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no such size.
        PapertrailError: MMDetection is missing.
    """
    return Swin(size, window, classes, in_channels)


def vit(size: str = "small", side: int = 224, *, classes: int = 1000, in_channels: int = 3) -> nn.Module:
    """Vision Transformer with patches of 16 (Dosovitskiy et al. 2021), which DeiT (Touvron et al. 2021) trains too.

    Args:
        size: small, base or large.
        side: of the square images, in pixels; a multiple of 16.
        classes: number of classes.
        in_channels: of the images.

    Raises:
        ValueError: there is no such size.
    """
    known(size, VIT)
    return ViT(size, side, classes, in_channels)


def known(size: str, sizes: Mapping[str, object]) -> None:
    """ValueError where `sizes` has no such size."""
    if size not in sizes:
        raise ValueError(f"size must be one of {', '.join(sizes)}, not {size!r}")
