"""Small sets of ImageNet's images, packed in one Parquet file each."""

from __future__ import annotations

import numpy as np
import torch

from shared.datasets.encoded import Images, streamed
from shared.datasets.find import obtain
from shared.datasets.image_set import ImageSet
from shared.datasets.order import round_robin
from shared.datasets.spec import DatasetSpec, SplitName, check_labels

SPLIT_NAMES = {"train": "train", "test": "val"}


def reader(spec: DatasetSpec) -> ImageSet:
    """The images, held in memory as they are encoded, and decoded as they are used."""
    return ImageSet(spec, images, streamed)


def images(spec: DatasetSpec, split: SplitName) -> Images:
    """The images of a split, dealt round-robin over the classes; all of them where the file knows no splits."""
    import pyarrow.compute
    import pyarrow.parquet

    path = obtain(spec, spec.files[0])
    table = pyarrow.parquet.read_table(path)
    if "split" in table.column_names:
        table = table.filter(pyarrow.compute.equal(table["split"], SPLIT_NAMES[split]))
    labels = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
    check_labels(spec, split, labels, str(path))
    names = [f"{path}: {name}" for name in table["file" if "file" in table.column_names else "name"].to_pylist()]
    items, order = table["image"].to_pylist(), round_robin(labels)
    return Images([items[i] for i in order.tolist()], [names[i] for i in order.tolist()], labels[order])
