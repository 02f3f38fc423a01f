"""The data sets: what they are, where they come from, and how a run reads them."""

from __future__ import annotations

from shared.datasets.augment import Augment
from shared.datasets.catalogue import DATASETS, Dataset, datamodule, dataset, describe, prepare
from shared.datasets.spec import DatasetSpec, Split, SplitName

__all__ = [
    "DATASETS", "Augment", "Dataset", "DatasetSpec", "Split", "SplitName",
    "datamodule", "dataset", "describe", "fingerprint", "load", "prepare", "spec",
]  # fmt: skip


def spec(name: str) -> DatasetSpec:
    """The specification of a data set; UsageError names the known sets."""
    return dataset(name).spec


def load(name: str, split: SplitName) -> Split:
    """A split in memory; DataError names the file that is missing, damaged or not what the specification says."""
    return dataset(name).read(split)


def fingerprint(name: str) -> str:
    """SHA-256 over the pinned hashes of a set's sources: the "data hash" that cards carry."""
    return dataset(name).spec.fingerprint
