"""Every data set by name, and what can be said about it on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
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
    spec = known.spec
    located = known.locate() if known.locate else {file.name: find(spec, file) for file in spec.files}
    return {
        "name": spec.name,
        "title": spec.title,
        "source": spec.source,
        "licence": spec.licence,
        "classes": spec.classes,
        "shape": list(spec.shape),
        "counts": spec.counts,
        "fingerprint": spec.fingerprint,
        "files": [asdict(file) for file in spec.files],
        "found": {place: str(path) for place, path in located.items() if path},
        "missing": [place for place, path in located.items() if path is None],
        "obtain": spec.obtain,
        "note": spec.note,
        "leakage": spec.leakage,
        "bibtex": spec.bibtex,
    }


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
