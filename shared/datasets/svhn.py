"""SVHN: photographed house numbers, one digit in the middle of each 32x32 image, in three MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from shared.datasets.find import obtain
from shared.datasets.image_set import ImageSet, in_memory
from shared.datasets.spec import DatasetSpec, Split, SplitName, check_split

FILES: dict[SplitName, tuple[str, ...]] = {
    "train": ("train_32x32.mat", "extra_32x32.mat"),
    "test": ("test_32x32.mat",),
}


def reader(spec: DatasetSpec) -> ImageSet:
    """The digits, held in memory."""
    return ImageSet(spec, read, in_memory)


def read(spec: DatasetSpec, split: SplitName) -> Split:
    """A split in the publisher's order; of training, the extra images behind the others."""
    parts = [_read_mat(obtain(spec, file)) for file in spec.files if file.name in FILES[split]]
    images, labels = (torch.cat([torch.from_numpy(part[column]) for part in parts]).contiguous() for column in (0, 1))
    return check_split(spec, split, Split(images, labels), " and ".join(FILES[split]))


def _read_mat(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, 32, 32), a view of what the file holds as (32, 32, 3, N), and labels (N,), 0 for the file's 10."""
    from scipy.io import loadmat  # half a second, which a list of the sets need not wait for

    content = loadmat(path, variable_names=["X", "y"])
    return content["X"].transpose(3, 2, 0, 1), content["y"].reshape(-1).astype(np.int64) % 10
