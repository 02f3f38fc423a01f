"""Sets too large for memory: images stay encoded and are decoded, cropped and resized by Pillow in workers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from shared.datasets import rng
from shared.datasets.augment import Augment, EvalSpec, ResizedCropSpec
from shared.datasets.image_file import read_image

if TYPE_CHECKING:
    from shared.datasets.memory import Batch
    from shared.datasets.streamed import EncodedImages

_ATTEMPTS = 10


@dataclass(frozen=True)
class Images:
    """Encoded images: file names, or the bytes themselves; `names` are what an error says; `labels` int64 (N,)."""

    items: list[str] | list[bytes]
    names: list[str]
    labels: Tensor

    def __len__(self) -> int:
        return len(self.items)

    def decode(self, number: int) -> Image.Image:
        """The image as RGB; DataError names it when it cannot be decoded."""
        return read_image(self.items[number], self.names[number])


def streamed(*what: Any, **options: Any) -> EncodedImages:
    """The data module of such a set; Lightning comes with it, and only training needs that."""
    from shared.datasets.streamed import EncodedImages

    return EncodedImages(*what, **options)


class Decoded(Dataset):
    """An epoch's batches, decoded when they are asked for; training images are cropped as (seed, epoch, index) say."""

    def __init__(self, images: Images, augment: Augment, *, training: bool, seed: int, epoch: int) -> None:
        self.images = images
        self.augment = augment
        self.training = training
        self.seed = seed
        self.epoch = epoch

    def __getitem__(self, index: Tensor) -> Batch:
        """The batch of int64 indices (N,)."""
        pixels = [to_tensor(self._view(self.images.decode(number), number)) for number in index.tolist()]
        return torch.stack(pixels), self.images.labels[index], index

    def _view(self, image: Image.Image, number: int) -> Image.Image:
        crop, view = self.augment.random_resized_crop, self.augment.eval
        if self.training and crop:
            return random_resized_crop(image, number, crop, seed=self.seed, epoch=self.epoch)
        if not self.training and view:
            return resize_and_centre(image, view, crop.interpolation if crop else "bilinear")
        return image


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as uint8 (3, H, W)."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def crop_box(
    width: int, height: int, number: int, crop: ResizedCropSpec, *, seed: int, epoch: int
) -> tuple[int, int, int, int]:
    """The (left, top, right, bottom) of a random crop, a function of (seed, epoch, sample).

    The area's share is uniform in `scale`, the logarithm of the aspect uniform in that of `ratio` (Szegedy et al. 2015,
    section 6). After ten draws that do not fit, the central crop of the nearest allowed aspect.
    """
    draws = rng.uniform(seed, epoch, torch.tensor([number]), 4 * _ATTEMPTS, rng.RESIZED_CROP)
    low, high = math.log(crop.ratio[0]), math.log(crop.ratio[1])
    for share, aspect, x, y in draws.view(_ATTEMPTS, 4).tolist():
        area = width * height * (crop.scale[0] + share * (crop.scale[1] - crop.scale[0]))
        ratio = math.exp(low + aspect * (high - low))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, crop.ratio[0]), crop.ratio[1])
    w, h = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def random_resized_crop(
    image: Image.Image, number: int, crop: ResizedCropSpec, *, seed: int, epoch: int
) -> Image.Image:
    """Cut the sample's random crop out and resize it to a square of `crop.size` pixels."""
    box = crop_box(*image.size, number, crop, seed=seed, epoch=epoch)
    return image.crop(box).resize((crop.size, crop.size), _FILTERS[crop.interpolation])


def resize_and_centre(image: Image.Image, view: EvalSpec, interpolation: str) -> Image.Image:
    """Resize the short side to `view.resize` pixels and cut the central square of `view.crop` out (zeros outside)."""
    width, height = image.size
    factor = view.resize / min(width, height)
    size = (max(view.resize, int(width * factor)), max(view.resize, int(height * factor)))
    image = image.resize(size, _FILTERS[interpolation])
    left, top = round((size[0] - view.crop) / 2), round((size[1] - view.crop) / 2)
    return image.crop((left, top, left + view.crop, top + view.crop))


_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
