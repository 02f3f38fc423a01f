"""Augmentation of whole batches: what a recipe may ask for, and the operations that need no library.

Every function takes the sample indices with the images and draws its numbers from them (see rng.py): an image is
augmented alike in every split into batches, on every device and on every rank.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from shared.datasets import rng
from shared.schema import Strict


class RandAugmentSpec(Strict):
    """RandAugment (Cubuk et al. 2020): `n` operations for each image, at magnitude `m` of 30."""

    n: int = Field(ge=1)
    m: int = Field(ge=1, le=29)


class ResizedCropSpec(Strict):
    """A crop of random area (`scale`, a fraction) and aspect (`ratio`, width / height), resized to `size` pixels."""

    size: int = Field(ge=1)
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    @model_validator(mode="after")
    def _ordered(self) -> ResizedCropSpec:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError("scale must be [low, high] with 0 < low <= high <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError("ratio must be [low, high] with 0 < low <= high")
        return self


class ColorJitterSpec(Strict):
    """Half-widths of the factors' ranges: brightness 0.4 means a factor in 0.6..1.4."""

    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)


class EvalSpec(Strict):
    """The test-time view of images that differ in size: short side to `resize` pixels, then a central `crop`."""

    resize: int = Field(ge=1)
    crop: int = Field(ge=1)


class Augment(Strict):
    """What happens to an image between the data set and the network. Pixels are those of the data set's images.

    Training images pass through, in this order: random resized crop, pad and crop, flip, colour jitter, RandAugment,
    normalisation, cutout, then mixup or cutmix (a fair coin for each batch when both are asked for).
    """

    pad_crop: int = Field(0, ge=0)
    flip: bool = False
    cutout: int = Field(0, ge=0)
    randaugment: RandAugmentSpec | None = None
    mixup: float = Field(0.0, ge=0)
    cutmix: float = Field(0.0, ge=0)
    random_resized_crop: ResizedCropSpec | None = None
    color_jitter: ColorJitterSpec | None = None
    eval: EvalSpec | None = None
    normalisation: Literal["dataset"] = "dataset"


def to_unit(images: Tensor) -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in 0..1."""
    return images.to(torch.float32).div_(255)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Subtract `mean` and divide by `std`, per channel; float images (N, C, H, W) in 0..1."""
    shape = (1, -1, 1, 1)
    centre = torch.tensor(mean, device=images.device).view(shape)
    return (images - centre).div_(torch.tensor(std, device=images.device).view(shape))


def pad_crop_flip(images: Tensor, index: Tensor, *, pad: int, flip: bool, seed: int, epoch: int) -> Tensor:
    """Pad with zeros by `pad` pixels, crop back at a random place, and mirror a random half of the images.

    Takes and returns (N, C, H, W) of any dtype. Each of the (2 pad + 1)**2 places is equally likely.
    """
    count, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device).expand(count, height)
    columns = torch.arange(width, device=images.device).expand(count, width)
    if flip:
        mirrored = rng.uniform(seed, epoch, index, 1, rng.FLIP) < 0.5
        columns = torch.where(mirrored, width - 1 - columns, columns)
    if pad:
        offsets = (rng.uniform(seed, epoch, index, 2, rng.CROP) * (2 * pad + 1)).to(torch.int64)
        rows, columns = rows + offsets[:, :1], columns + offsets[:, 1:]
        images = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    # The source position of every output pixel, as one index into an image's plane: a single gather moves all pixels.
    place = (rows * images.shape[3]).unsqueeze(2) + columns.unsqueeze(1)
    place = place.view(count, 1, height * width).expand(-1, channels, -1)
    return images.flatten(2).gather(2, place).view(count, channels, height, width)


def cutout(images: Tensor, index: Tensor, *, size: int, seed: int, epoch: int) -> Tensor:
    """Set a square of `size` pixels to zero (the mean, after normalisation), centred anywhere in the image.

    The part of the square that falls outside the image is lost (DeVries and Taylor 2017, section 3.2). (N, C, H, W).
    """
    _, _, height, width = images.shape
    draws = rng.uniform(seed, epoch, index, 2, rng.CUTOUT)

    def inside(length: int, draw: Tensor) -> Tensor:
        start = (draw * length).to(torch.int64) - size // 2
        offset = torch.arange(length, device=images.device) - start[:, None]
        return (offset >= 0) & (offset < size)

    hole = inside(height, draws[:, 0])[:, :, None] & inside(width, draws[:, 1])[:, None, :]
    return images * (~hole[:, None]).to(images.dtype)  # four times as fast as masked_fill


def color_jitter(images: Tensor, index: Tensor, *, jitter: ColorJitterSpec, seed: int, epoch: int) -> Tensor:
    """Scale brightness, contrast and saturation, in this order, of each float image; (N, C, H, W) in 0..1."""
    draws = rng.uniform(seed, epoch, index, 3, rng.JITTER).view(-1, 3, 1, 1, 1) * 2 - 1
    brightness, contrast, saturation = (
        1 + width * draws[:, i] for i, width in enumerate((jitter.brightness, jitter.contrast, jitter.saturation))
    )
    images = (images * brightness).clamp(0, 1)
    average = luma(images).mean((2, 3), keepdim=True)
    images = (average + (images - average) * contrast).clamp(0, 1)
    grey = luma(images)
    return (grey + (images - grey) * saturation).clamp(0, 1)


def luma(images: Tensor) -> Tensor:
    """The grey value (N, 1, H, W) of images (N, 1 or 3, H, W), with the weights of ITU-R BT.601."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor((0.299, 0.587, 0.114), device=images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)
