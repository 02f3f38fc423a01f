"""Stand-in data of a data set's real shape, so that every recipe can be tried where its data set is not."""

from __future__ import annotations

import torch

from shared.datasets.augment import Augment
from shared.datasets.memory import InMemory
from shared.datasets.spec import DatasetSpec, Split, SplitName

BATCH_SIZE = 4


def stand_in(spec: DatasetSpec, augment: Augment, *, steps: int, seed: int) -> InMemory:
    """Noise for `steps` training batches of four images, and one test batch.

    The images have the shape that the network sees, so the resizing that a recipe does while decoding is left out.
    """
    in_memory = augment.model_copy(update={"random_resized_crop": None, "eval": None})
    counts = {"train": steps * BATCH_SIZE, "test": BATCH_SIZE}

    def read(split: SplitName) -> Split:
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(256, (counts[split], *spec.shape), dtype=torch.uint8, generator=generator)
        return Split(images, torch.arange(counts[split]) % spec.classes)

    noise = spec.model_copy(update={"counts": counts})
    return InMemory(noise, read, batch_size=BATCH_SIZE, augment=in_memory, seed=seed)
