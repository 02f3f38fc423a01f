"""The CIFAR pipeline of the core against a DataLoader that augments sample by sample with Pillow.

Both pad by 4, crop, flip and normalise 32 x 32 colour images that are in memory already. The images are noise: what
they show makes no difference to the time, and the benchmark needs no data set.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from shared import datasets
from shared.datasets import Split, SplitName
from shared.datasets.augment import Augment
from shared.datasets.memory import InMemory
from tests.benchmarks.runner import Contest, Side

PAD, BATCH_SIZE = 4, 128
SPEC = datasets.spec("cifar10")


def contests(tiny: bool) -> list[Contest]:
    """A pass over the training split, batches of 128, with no and with two worker processes on the other side."""
    split = noise(256 if tiny else 10_000)
    sides = {"batched, in memory": ours(split)}
    for workers in (0, 2):
        sides[f"Pillow, {workers} workers"] = theirs(split, workers)
    return [
        Contest(f"pad {PAD}, crop, flip, normalise, 32 x 32", sides, turns=2 if tiny else 7, goal=3.0),
    ]


def noise(count: int) -> Split:
    """Images of CIFAR-10's shape."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, *SPEC.shape), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count) % SPEC.classes)


def ours(split: Split) -> Side:
    """The data module as a run uses it: a new epoch each turn."""
    spec = SPEC.model_copy(update={"counts": {"train": len(split), "test": len(split)}})

    def read(_: SplitName) -> Split:
        return split

    data = InMemory(spec, read, batch_size=BATCH_SIZE, augment=Augment(pad_crop=PAD, flip=True), seed=0)
    data.setup()
    epoch = 0

    def turn() -> float:
        nonlocal epoch
        started = time.perf_counter()
        count = 0
        for batch in data.train_dataloader():
            images, _ = data.transform(batch, training=True, epoch=epoch)
            count += len(images)
        epoch += 1
        return (time.perf_counter() - started) / count

    return turn


def theirs(split: Split, workers: int) -> Side:
    """A shuffling DataLoader over `PillowImages`; its workers live from turn to turn."""
    loader = DataLoader(
        PillowImages(split), BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def turn() -> float:
        started = time.perf_counter()
        count = sum(len(images) for images, _ in loader)
        return (time.perf_counter() - started) / count

    return turn


class PillowImages(Dataset):
    """One sample at a time, from arrays (H, W, C), as data sets of images are usually written."""

    def __init__(self, split: Split) -> None:
        self.arrays = split.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = split.labels.tolist()
        self.mean = torch.tensor(SPEC.mean).view(-1, 1, 1)
        self.std = torch.tensor(SPEC.std).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        top, left = torch.randint(2 * PAD + 1, (2,)).tolist()
        return self.augmented(index, top, left, bool(torch.rand(()) < 0.5)), self.labels[index]

    def augmented(self, index: int, top: int, left: int, mirrored: bool) -> Tensor:
        """The image cropped at (top, left) of its padded self, mirrored or not, and normalised; (C, H, W)."""
        image = Image.fromarray(self.arrays[index])
        width, height = image.size
        image = ImageOps.expand(image, PAD).crop((left, top, left + width, top + height))
        if mirrored:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        return pixels.float().div_(255).sub_(self.mean).div_(self.std)
