"""What a paper can build: its classifiers, and its detectors where it has any.

`papers/<slug>/__init__.py` states MODELS and DEFAULTS; `papers/<slug>/detectors.py` states them for detectors, apart,
so that what trains a classifier does not depend on the code of detectors.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import nn

from shared.errors import UsageError, nearest

Builder = Callable[..., nn.Module]
IMAGENET = ((3, 224, 224), 1000)
COLOUR_CHANNELS = 3


@dataclass(frozen=True)
class Model:
    """A builder, and the image (C, H, W) and the number of classes that its networks were made for."""

    build: Builder
    input: tuple[int, int, int]
    classes: int


def models(slug: str) -> dict[str, Model]:
    """Everything that a paper can build, by name; classifiers first."""
    return {name: model for module in _modules(slug) for name, model in _stated(module).items()}


def find_model(slug: str, name: str) -> Model:
    """One of a paper's models; its detectors are imported only when no classifier has the name.

    UsageError names the nearest models.
    """
    for module in _modules(slug):
        stated = _stated(module)
        if name in stated:
            return stated[name]
    raise UsageError(f"papers/{slug}: no model `{name}`; {nearest(name, models(slug))}")


def build(slug: str, model: str, args: dict[str, Any], classes: int, channels: int = COLOUR_CHANNELS) -> nn.Module:
    """A network of a paper; only images that are not in colour need a builder with `in_channels`.

    Raises:
        UsageError: no such builder, or an argument that it does not have; the message names the nearest.
    """
    builder = find_model(slug, model).build
    parameters = inspect.signature(builder).parameters
    extra = {} if channels == COLOUR_CHANNELS else {"in_channels": channels}
    for name in (*args, *extra):
        if name not in parameters:
            raise UsageError(f"papers/{slug}: `{model}` takes no `{name}`; {nearest(name, parameters)}")
    try:
        return builder(**args, **extra, classes=classes)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"papers/{slug}: `{model}` cannot be built with {args}: {error}") from error


def _modules(slug: str) -> Iterator[ModuleType]:
    yield importlib.import_module(f"papers.{slug}")
    if importlib.util.find_spec(f"papers.{slug}.detectors"):
        yield importlib.import_module(f"papers.{slug}.detectors")


def _stated(module: ModuleType) -> dict[str, Model]:
    return {name: Model(builder, *module.DEFAULTS.get(name, IMAGENET)) for name, builder in module.MODELS.items()}
