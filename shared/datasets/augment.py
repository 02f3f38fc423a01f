"""Augmentation of whole batches: what a recipe may ask for, and the operations that need no library.

Every function takes the sample indices with the images and draws its numbers from them (see rng.py): an image is
augmented alike in every split into batches, on every device and on every rank.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from shared.datasets import rng
from shared.schema import Strict

ERASE_DRAWS = 10  # rectangles that are tried before an image is left whole


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


class EraseSpec(Strict):
    """Random erasing (Zhong et al. 2020, algorithm 1): a rectangle of an image's pixels becomes 0, the mean.

    Attributes:
        probability: how often an image loses one.
        area: of the rectangle, as a fraction of the image: [low, high].
        aspect: the smallest height / width; the largest is its inverse.
    """

    probability: float = Field(gt=0, le=1)
    area: tuple[float, float] = (0.02, 0.4)
    aspect: float = Field(0.3, gt=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> EraseSpec:
        if not 0 < self.area[0] <= self.area[1] < 1:
            raise ValueError("area must be [low, high] with 0 < low <= high < 1")
        return self


class EvalSpec(Strict):
    """The test-time view of images that differ in size: short side to `resize` pixels, then a central `crop`."""

    resize: int = Field(ge=1)
    crop: int = Field(ge=1)

    @model_validator(mode="after")
    def _crop_is_inside(self) -> EvalSpec:
        if self.crop > self.resize:
            raise ValueError("`crop` must not exceed `resize`")
        return self


class Statistics(Strict):
    """The mean of each channel and its deviation, of pixels in 0..1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @model_validator(mode="after")
    def _of_the_same_channels(self) -> Statistics:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means for {len(self.std)} deviations")
        return self


class Augment(Strict):
    """What happens to an image between the data set and the network. Pixels are those of the data set's images.

    Training images pass through, in this order: random resized crop, pad and crop, flip, colour jitter, RandAugment,
    normalisation, cutout, random erasing, then mixup or cutmix. `mixup` and `cutmix` are the parameters of their Beta
    distributions, `mixup_probability` and `cutmix_probability` say how often a batch is mixed in this way: always where
    one is asked for, and half of the time each where both are, unless the probabilities are stated.

    `padding` is what stands around an image before the crop: zeros, or its own pixels mirrored at its edge.
    `normalisation` takes the mean and the deviation of the data set ("dataset"), only divides by 255 ("unit"), or
    whitens ("zca", see whiten.py), which comes before everything else. `statistics` stand in the place of the data
    set's, where a network was trained with others.
    """

    pad_crop: int = Field(0, ge=0)
    padding: Literal["zeros", "reflect"] = "zeros"
    flip: bool = False
    cutout: int = Field(0, ge=0)
    randaugment: RandAugmentSpec | None = None
    erase: EraseSpec | None = None
    mixup: float = Field(0.0, ge=0)
    mixup_probability: float | None = Field(None, gt=0, le=1)
    cutmix: float = Field(0.0, ge=0)
    cutmix_probability: float | None = Field(None, gt=0, le=1)
    random_resized_crop: ResizedCropSpec | None = None
    color_jitter: ColorJitterSpec | None = None
    eval: EvalSpec | None = None
    normalisation: Literal["dataset", "unit", "zca"] = "dataset"
    statistics: Statistics | None = None

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Augment:
        if self.padding != "zeros" and not self.pad_crop:
            raise ValueError("`padding` belongs to a `pad_crop` above 0")
        if self.statistics and self.normalisation != "dataset":
            raise ValueError("`statistics` belong to `normalisation: dataset`")
        if self.normalisation == "zca" and (self.color_jitter or self.randaugment):
            raise ValueError("`color_jitter` and `randaugment` need colours, which `normalisation: zca` does not leave")
        return self

    @model_validator(mode="after")
    def _probabilities_add_up(self) -> Augment:
        for way in ("mixup", "cutmix"):
            if getattr(self, f"{way}_probability") is not None and not getattr(self, way):
                raise ValueError(f"`{way}_probability` belongs to a `{way}` above 0")
        if (self.mixup_probability is None) != (self.cutmix_probability is None) and self.mixup and self.cutmix:
            raise ValueError("with mixup and cutmix together, state both probabilities or none")
        if sum(self.mixing()) > 1:
            raise ValueError("`mixup_probability` and `cutmix_probability` together must not exceed 1")
        return self

    def mixing(self) -> tuple[float, float]:
        """How often a batch goes through mixup, and how often through cutmix."""
        usual = 0.5 if self.mixup and self.cutmix else 1.0
        stated = (self.mixup, self.mixup_probability), (self.cutmix, self.cutmix_probability)
        first, second = ((usual if often is None else often) if strength else 0.0 for strength, often in stated)
        return first, second


def to_unit(images: Tensor) -> Tensor:
    """Turn uint8 (N, C, H, W) into float32 in 0..1."""
    return images.to(torch.float32).div_(255)


def normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Subtract `mean` and divide by `std`, per channel; float images (N, C, H, W) in 0..1."""
    shape = (1, -1, 1, 1)
    return (images - _constant(mean, images.device).view(shape)).div_(_constant(std, images.device).view(shape))


@functools.lru_cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Brought to the device once: a GPU would be waited for in every step."""
    with torch.inference_mode(False):  # whoever asks first, training uses it too
        return torch.tensor(values, device=device)


def pad_crop_flip(
    images: Tensor, index: Tensor, *, pad: int, flip: bool, seed: int, epoch: int, reflect: bool = False
) -> Tensor:
    """Pad by `pad` pixels, crop back at a random place, and mirror a random half of the images.

    The padding is zeros, or with `reflect` the pixels next to the edge, mirrored at it. Takes and returns (N, C, H, W)
    of any dtype. Each of the (2 pad + 1)**2 places is equally likely.
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
        if reflect:
            rows, columns = _reflected(rows - pad, height), _reflected(columns - pad, width)
        else:
            images = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    # The source position of every output pixel, as one index into an image's plane: a single gather moves all pixels.
    place = (rows * images.shape[3]).unsqueeze(2) + columns.unsqueeze(1)
    place = place.view(count, 1, height * width).expand(-1, channels, -1)
    return images.flatten(2).gather(2, place).view(count, channels, height, width)


def _reflected(place: Tensor, length: int) -> Tensor:
    """Positions up to `length` - 1 beyond the ends of 0..length - 1, mirrored at the first and the last of them."""
    return length - 1 - (length - 1 - place.abs()).abs()


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


def erase(images: Tensor, index: Tensor, *, recipe: EraseSpec, seed: int, epoch: int) -> Tensor:
    """Set a random rectangle of some images (N, C, H, W) to zero; see `EraseSpec`.

    Area and logarithm of the aspect are uniform, and so is the place among those where the rectangle lies within the
    image. A rectangle that is longer than the image is drawn again, ERASE_DRAWS times at most.
    """
    count, _, height, width = images.shape
    draws = rng.uniform(seed, epoch, index, 3 + 2 * ERASE_DRAWS, rng.ERASE)
    area = (recipe.area[0] + (recipe.area[1] - recipe.area[0]) * draws[:, 3::2]) * (height * width)
    aspect = torch.exp((2 * draws[:, 4::2] - 1) * -math.log(recipe.aspect))
    tall, wide = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (tall <= height) & (wide <= width)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)  # 0 where none fits
    tall, wide = tall.gather(1, first), wide.gather(1, first)
    hit = (draws[:, 0] < recipe.probability) & fits.any(1)

    def inside(length: int, size: Tensor, draw: Tensor) -> Tensor:
        start = (draw[:, None] * (length - size + 1)).floor()
        offset = torch.arange(length, device=images.device) - start
        return (offset >= 0) & (offset < size)

    hole = inside(height, tall, draws[:, 1])[:, :, None] & inside(width, wide, draws[:, 2])[:, None, :]
    return images * (~(hole & hit.view(count, 1, 1))[:, None]).to(images.dtype)


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
    return (images * _constant((0.299, 0.587, 0.114), images.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
