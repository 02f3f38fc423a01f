"""The data sets: what they are, where they come from, and how a run reads them."""

from __future__ import annotations

from shared.datasets.catalogue import datamodule, describe, module, names, opened, prepare, spec
from shared.datasets.spec import DatasetSpec, Split, SplitName

__all__ = [
    "DatasetSpec", "Split", "SplitName",
    "datamodule", "describe", "module", "names", "opened", "prepare", "spec",
]  # fmt: skip
