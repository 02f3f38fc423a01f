"""What a paper can build: its classifiers, and its detectors where it has any.

`papers/<slug>/__init__.py` states MODELS and DEFAULTS; `papers/<slug>/detectors.py` states them for detectors, apart,
so that what trains a classifier does not depend on the code of detectors.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from shared.errors import UsageError

Builder = Callable[..., nn.Module]
IMAGENET = ((3, 224, 224), 1000)


@dataclass(frozen=True)
class Model:
    """A builder, and the image (C, H, W) and the number of classes that its networks were made for."""

    build: Builder
    input: tuple[int, int, int]
    classes: int


def models(slug: str) -> dict[str, Model]:
    """Everything that a paper can build, by name; classifiers first."""
    modules = [importlib.import_module(f"papers.{slug}")]
    if importlib.util.find_spec(f"papers.{slug}.detectors"):
        modules.append(importlib.import_module(f"papers.{slug}.detectors"))
    return {
        name: Model(builder, *module.DEFAULTS.get(name, IMAGENET))
        for module in modules
        for name, builder in module.MODELS.items()
    }


def made_for(slug: str, model: str) -> tuple[tuple[int, int, int], int]:
    """The image and the classes of a model; UsageError lists the known models."""
    known = models(slug)
    if model not in known:
        raise UsageError(f"papers/{slug}: no model `{model}`; there are {', '.join(known)}")
    return known[model].input, known[model].classes
