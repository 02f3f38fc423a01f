from __future__ import annotations

import pytest
import torch

from shared import datasets
from shared.datasets.spec import Split, check_split
from shared.errors import DataError


def test_splits_that_are_not_what_was_promised_are_refused():
    spec = datasets.spec("cifar10").model_copy(update={"shape": (1, 2, 2), "counts": {"train": 20}})
    images = torch.zeros(20, 1, 2, 2, dtype=torch.uint8)
    labels = torch.arange(20) % 10
    assert len(check_split(spec, "train", Split(images, labels), "file")) == 20
    wrong = [
        (Split(images[:0], labels[:0]), "empty"),
        (Split(images, labels + 1), r"label 10 is outside 0\.\.9"),
        (Split(images, labels - 1), r"label -1 is outside"),
        (Split(images, labels.clamp(max=8)), "no image of class truck"),
        (Split(images[:10], labels[:10]), "10 train samples, cifar10 has 20"),
        (Split(images[:19], labels), "19 images but 20 labels"),
        (Split(images.float(), labels), "float32"),
        (Split(images[:, :, :1], labels), r"\(1, 1, 2\)"),
    ]
    for data, message in wrong:
        with pytest.raises(DataError, match=rf"file.*{message}"):
            check_split(spec, "train", data, "file")
