"""What a paper can build: its classifiers, and its detectors where it has any.

`papers/<slug>/__init__.py` states MODELS and DEFAULTS; `papers/<slug>/detectors.py` states them for detectors, apart,
so that what trains a classifier does not depend on the code of detectors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from torch import nn

from shared.code import code_of, first_line
from shared.errors import PapertrailError, UsageError, nearest

Builder = Callable[..., nn.Module]
IMAGENET = ((3, 224, 224), 1000)
COLOUR_CHANNELS = 3
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}


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
        UsageError: no such builder, an argument that it does not have (the message names the nearest), or a value that
            it cannot take.
    """
    builder = find_model(slug, model).build
    where = f"papers/{slug}: `{model}`"
    extra = {} if channels == COLOUR_CHANNELS else {"in_channels": channels}
    parameters = dict(inspect.signature(builder, eval_str=True).parameters)
    parameters.pop("classes")  # the data decide it
    for name, value in {**args, **extra}.items():
        if name not in parameters:
            raise UsageError(f"{where} takes no `{name}`; {nearest(name, parameters)}")
        expected = _expected(parameters[name].annotation, value)
        if expected:
            raise UsageError(f"{where}: `{name}` is to be {expected}, not {value!r}")
    try:
        return builder(**args, **extra, classes=classes)
    except PapertrailError:
        raise
    except Exception as error:  # whatever a paper's code and PyTorch raise
        stated = ", ".join(f"{name}={value}" for name, value in args.items()) or "its defaults"
        raise UsageError(f"{where} cannot be built with {stated}: {first_line(error)}") from error


def _expected(annotation: Any, value: Any) -> str | None:
    """What an argument is to be, where `value` does not fit its annotation; only scalars are judged here."""
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return None if value in choices else f"one of {', '.join(map(str, choices))}"
    fits = type(value) is annotation or (annotation is float and type(value) is int)
    return None if fits else KINDS.get(annotation)


def _modules(slug: str) -> Iterator[ModuleType]:
    yield from filter(None, (code_of(slug, part) for part in ("", "detectors")))


def _stated(module: ModuleType) -> dict[str, Model]:
    if not hasattr(module, "MODELS"):
        raise PapertrailError(f"{module.__name__.replace('.', '/')}: its code states no MODELS")
    return {name: Model(builder, *module.DEFAULTS.get(name, IMAGENET)) for name, builder in module.MODELS.items()}
