"""What a paper can build: its classifiers, and its detectors where it has any.

`papers/<slug>/__init__.py` states MODELS and DEFAULTS; `papers/<slug>/detectors.py` states them for detectors, apart,
so that what trains a classifier does not depend on the code of detectors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType, UnionType
from typing import Any, Literal, get_args, get_origin

from torch import nn
from torch.nn.parameter import is_lazy

from shared.code import code_of, first_line
from shared.errors import PapertrailError, UsageError, nearest

Builder = Callable[..., nn.Module]
IMAGENET = ((3, 224, 224), 1000)
COLOUR_CHANNELS = 3
FROM_DATA = ("classes", "in_channels")
LARGEST = 1_000_000  # no number that makes a network is larger
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
        UsageError: no such builder, an argument that it does not have (the message names the nearest), a value that it
            cannot take, or one that leaves a layer without weights.
    """
    builder = find_model(slug, model).build
    where = f"papers/{slug}: `{model}`"
    parameters = _parameters(builder)
    settable = [name for name, one in parameters.items() if _kinds(one) and name not in FROM_DATA]
    for name in args:
        if name not in settable:
            raise UsageError(f"{where} takes no `{name}`; {nearest(name, settable)}")
    given = args | ({} if channels == COLOUR_CHANNELS else {"in_channels": channels}) | {"classes": classes}
    for name, value in given.items():
        if name not in parameters:
            raise UsageError(f"{where} takes no `{name}`: it sees images in colour alone")
        expected = _expected(parameters[name], value)
        if expected:
            raise UsageError(f"{where}: `{name}` is to be {expected}, not {value!r}")
        if type(value) is int and not {int, float} & {*_kinds(parameters[name])}:
            given[name] = str(value)  # digits are a number to YAML, and a word to a builder that reads them one by one
    stated = ", ".join(f"{name}={value}" for name, value in given.items())
    try:
        network = builder(**given)
    except (PapertrailError, ImportError):
        raise
    except Exception as error:  # whatever a paper's code and PyTorch raise
        raise UsageError(f"{where} cannot be built with {stated}: {first_line(error)}") from error
    for name, parameter in network.named_parameters():
        if not is_lazy(parameter) and parameter.numel() == 0:
            raise UsageError(f"{where} cannot be built with {stated}: `{name}` would be empty")
    return network


def _parameters(builder: Builder) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(builder, eval_str=True).parameters
    except NameError:  # an annotation that only type checkers can read
        return inspect.signature(builder).parameters


def _kinds(parameter: inspect.Parameter) -> tuple[Any, ...]:
    """What can be given in YAML or by `--set`: of bool, int, float, str and Literals; nothing where it takes code."""
    stated = parameter.annotation
    if stated in (inspect.Parameter.empty, Any) or isinstance(stated, str):
        return tuple(KINDS)
    alternatives = get_args(stated) if isinstance(stated, UnionType) else (stated,)
    return tuple(kind for kind in alternatives if kind in KINDS or get_origin(kind) is Literal)


def _expected(parameter: inspect.Parameter, value: Any) -> str:
    """What an argument is to be, where `value` is not; a number whose default is above 0 has to be that, too."""
    kinds, given = _kinds(parameter), type(value)
    choices = [choice for kind in kinds for choice in get_args(kind)]
    words = [KINDS[kind] for kind in kinds if kind in KINDS]
    words += [f"one of {', '.join(map(str, choices))}"] if choices else []
    if given not in (int, float) or not {int, float} & {*kinds}:
        fits = given in kinds or value in choices or (given is int and str in kinds)
        return "" if fits else " or ".join(words)
    positive = type(parameter.default) in (int, float) and parameter.default > 0
    fits = (given in kinds or float in kinds) and abs(value) <= LARGEST and (value > 0 or not positive)
    return "" if fits else f"{' or '.join(words)}{' above 0' * positive}, at most {LARGEST:,}"


def _modules(slug: str) -> Iterator[ModuleType]:
    yield from filter(None, (code_of(slug, part) for part in ("", "detectors")))


def _stated(module: ModuleType) -> dict[str, Model]:
    if not hasattr(module, "MODELS"):
        raise PapertrailError(f"{module.__name__.replace('.', '/')}: its code states no MODELS")
    return {name: Model(builder, *module.DEFAULTS.get(name, IMAGENET)) for name, builder in module.MODELS.items()}
