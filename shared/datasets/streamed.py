"""The Lightning data module of sets too large for memory: see encoded.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.data import Dataset

from shared.datasets.encoded import Decoded, Images
from shared.datasets.memory import ImageDataModule
from shared.datasets.spec import DatasetSpec, SplitName
from shared.errors import UsageError


class EncodedImages(ImageDataModule):
    """A set whose images are decoded when they are used; `images` gives a split's."""

    def __init__(self, spec: DatasetSpec, images: Callable[[SplitName], Images], **options: Any) -> None:
        super().__init__(spec, **options)
        self._images = images
        if not spec.fixed and not (self.augment.random_resized_crop and self.augment.eval):
            raise UsageError(f"{spec.name}: its images differ in size: the recipe needs random_resized_crop and eval")
        if self.augment.normalisation == "zca":
            raise UsageError(f"{spec.name}: `normalisation: zca` is for sets that are held in memory")

    def open(self, split: SplitName) -> Images:
        """The split's encoded images."""
        return self._images(split)

    def dataset(self, split: SplitName, epoch: int) -> Dataset:
        """Decoded batches of one epoch."""
        return Decoded(self.data[split], self.augment, training=split == "train", seed=self.seed, epoch=epoch)
