"""A set of labelled images, read as one of the two data modules needs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shared.datasets.find import find
from shared.datasets.spec import SPLITS, DatasetSpec, SplitName

if TYPE_CHECKING:
    from shared.datasets.memory import ImageDataModule, InMemory


def in_memory(*what: Any, **options: Any) -> InMemory:
    """The data module of splits that are held in memory; Lightning comes with it, and only training needs that."""
    from shared.datasets.memory import InMemory

    return InMemory(*what, **options)


def _sources(spec: DatasetSpec) -> dict[str, Path | None]:
    return {file.name: find(spec, file) for file in spec.files}


@dataclass(frozen=True)
class ImageSet:
    """A set, and how it is read.

    Attributes:
        spec: what it is.
        of: gives a split: a Split in memory, or the Images that are decoded as they are used.
        kind: makes the data module of such splits.
        sources: where each source is, or None.
    """

    spec: DatasetSpec
    of: Callable[[DatasetSpec, SplitName], Any]
    kind: Callable[..., ImageDataModule]
    sources: Callable[[DatasetSpec], Mapping[str, Path | None]] = _sources

    def read(self, split: SplitName) -> Any:
        """A split; DataError names the file that is missing, damaged or not what the specification says."""
        return self.of(self.spec, split)

    def datamodule(self, **options: Any) -> ImageDataModule:
        """The Lightning data module; see ImageDataModule for the options."""
        return self.kind(self.spec, functools.partial(self.of, self.spec), **options)

    def locate(self) -> Mapping[str, Path | None]:
        """Where each source is on this machine, or None."""
        return self.sources(self.spec)

    def count(self) -> dict[str, Any]:
        """Read both splits, verified; the sizes of the smallest and the largest class of each."""
        counted = {}
        for split in SPLITS:
            sizes = torch.bincount(self.read(split).labels, minlength=self.spec.classes)
            counted[split] = {"smallest": int(sizes.min()), "largest": int(sizes.max())}
        return {"classes_counted": counted}
