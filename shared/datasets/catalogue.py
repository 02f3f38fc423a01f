"""Every data set by name, and what can be said about it on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from shared.datasets import cifar, cifar_jpeg, fashion_mnist, imagenet, mnist5k
from shared.datasets.augment import Augment
from shared.datasets.find import find
from shared.datasets.spec import SPLITS, DatasetSpec, Split, SplitName
from shared.errors import UsageError

if TYPE_CHECKING:
    from shared.datasets.encoded import Images
    from shared.datasets.memory import ImageDataModule


@dataclass(frozen=True)
class Dataset:
    """A data set that the project knows.

    `read` gives a split in memory, `images` a split of encoded images (for sets that a run decodes as it goes; `fixed`
    when they are all of one size), `locate` where each of its sources is, or None.
    """

    spec: DatasetSpec
    read: Callable[[SplitName], Split]
    locate: Callable[[], dict[str, Path | None]] | None = None
    images: Callable[[SplitName], Images] | None = None
    fixed: bool = True


DATASETS: dict[str, Dataset] = {
    known.spec.name: known
    for known in (
        Dataset(mnist5k.SPEC, mnist5k.read, mnist5k.locate),
        Dataset(fashion_mnist.SPEC, fashion_mnist.read, fashion_mnist.locate),
        Dataset(cifar.CIFAR10, cifar.read_cifar10),
        Dataset(cifar.CIFAR100, cifar.read_cifar100),
        Dataset(cifar_jpeg.SPEC, cifar_jpeg.read, cifar_jpeg.locate),
        Dataset(imagenet.IMAGENETTE, imagenet.read_imagenette, images=imagenet.imagenette_images),
        Dataset(
            imagenet.IMAGENET,
            imagenet.read_sizes_differ,
            imagenet.locate_imagenet,
            images=imagenet.imagenet_images,
            fixed=False,
        ),
        Dataset(imagenet.SAMPLE, imagenet.read_sizes_differ, images=imagenet.sample_images, fixed=False),
    )
}


def dataset(name: str) -> Dataset:
    """The data set of that name; UsageError names the known ones."""
    if name not in DATASETS:
        raise UsageError(f"no data set {name!r}; known: {', '.join(DATASETS)}")
    return DATASETS[name]


def datamodule(
    name: str, *, batch_size: int, augment: Augment, seed: int, workers: int = 0, limit: int | None = None
) -> ImageDataModule:
    """The Lightning data module of a set; see memory.ImageDataModule for the arguments."""
    from shared.datasets.encoded import EncodedImages
    from shared.datasets.memory import InMemory

    known = dataset(name)
    options: dict[str, Any] = {
        "batch_size": batch_size, "augment": augment, "seed": seed, "workers": workers, "limit": limit,
    }  # fmt: skip
    if known.images:
        return EncodedImages(known.spec, known.images, fixed=known.fixed, **options)
    return InMemory(known.spec, known.read, **options)


def describe(name: str) -> dict[str, Any]:
    """What a set is and where its sources are on this machine (looked for, not verified; see `prepare`)."""
    known = dataset(name)
    located = known.locate() if known.locate else {file.name: find(known.spec, file) for file in known.spec.files}
    return known.spec.describe(located)


def prepare(name: str) -> dict[str, Any]:
    """Fetch a set where it has an address, verify every hash and count, and describe it.

    The result has `classes_counted` besides: the smallest and the largest class of each split. DataError when anything
    is missing, damaged or not what the specification says.
    """
    known = dataset(name)
    counted = {}
    for split in SPLITS:
        labels = (known.images or known.read)(split).labels
        sizes = torch.bincount(labels, minlength=known.spec.classes)
        counted[split] = {"smallest": int(sizes.min()), "largest": int(sizes.max())}
    return {**describe(name), "classes_counted": counted}
