"""Every data set by name: data/<set>/set.yaml states what it is, and names the module that reads it.

That module has a function `reader(spec)`, whose answer has `locate()` (where each source is, or None) and `count()`
(verify everything, and say what was counted): an ImageSet, or a DetectionSet where there are boxes. It is imported when
the set is asked for, so that a run depends on the reader of its own data alone.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.datasets.spec import DatasetSpec
from shared.errors import UsageError, nearest
from shared.files import ROOT, read_yaml
from shared.schema import validated

if TYPE_CHECKING:
    from shared.datasets.augment import Augment
    from shared.datasets.memory import ImageDataModule

FOLDER = ROOT / "data"


def names() -> list[str]:
    """Every set, in alphabetical order."""
    return sorted(path.parent.name for path in FOLDER.glob("*/set.yaml"))


def spec(name: str) -> DatasetSpec:
    """What a set is; UsageError names the nearest sets, PapertrailError what is wrong in its set.yaml."""
    path = FOLDER / name / "set.yaml"
    if not path.is_file():
        raise UsageError(f"no data set `{name}`; {nearest(name, names())}")
    return _read(path)


@functools.cache
def _read(path: Path) -> DatasetSpec:
    content = read_yaml(path)
    named = {"name": path.parent.name, **content} if isinstance(content, dict) else content
    return validated(DatasetSpec, named, str(path))


def module(name: str) -> str:
    """The dotted name of the module that reads a set."""
    return spec(name).reader


def opened(name: str) -> Any:
    """The ImageSet, or the DetectionSet, of that name."""
    known = spec(name)
    return importlib.import_module(known.reader).reader(known)


def datamodule(
    name: str, *, batch_size: int, augment: Augment, seed: int, workers: int = 0, limit: int | None = None
) -> ImageDataModule:
    """The Lightning data module of a set of labelled images; see memory.ImageDataModule for the arguments."""
    if spec(name).boxes:
        raise UsageError(f"{name}: has boxes, which a detector is trained on, and no label for an image")
    return opened(name).datamodule(batch_size=batch_size, augment=augment, seed=seed, workers=workers, limit=limit)


def describe(name: str) -> dict[str, Any]:
    """What a set is and where its sources are on this machine (looked for, not verified; see `prepare`)."""
    return spec(name).describe(opened(name).locate())


def prepare(name: str) -> dict[str, Any]:
    """Fetch or make a set where that is possible, verify all of it, and describe it.

    The result has what was counted besides: `classes_counted`, the smallest and the largest class of each split, or
    `annotations` where there are boxes. DataError when anything is missing, damaged or not what set.yaml says.
    """
    counted = opened(name).count()
    return describe(name) | counted
