"""The base of every file format: an unknown key, a wrong type or an impossible value is an error that names the key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from shared.errors import PapertrailError, nearest

WIDTH = 60  # characters of what was found that are told
MOST = 3  # faults of one file that are told at once
# What was expected, by pydantic's name of a fault or the first word of it; the fault's context fills the braces.
EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "string": "text",
    "string_pattern_mismatch": "text of the form {pattern}",
    "literal": "{expected}",
    **dict.fromkeys(("dict", "mapping", "model"), "a mapping"),
    **dict.fromkeys(("list", "tuple", "set", "frozen"), "a list"),
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
}


class Strict(BaseModel):
    """A value that never changes and has no keys but its own; a number is a finite one, and neither text nor true."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any) -> Any:
        """Pydantic would take "3" for 3 and true for 1."""
        faults: list[InitErrorDetails] = []
        for name, found in value.items() if isinstance(value, dict) else ():
            kinds = _kinds(cls.model_fields[name].annotation) if name in cls.model_fields else set()
            if isinstance(found, bool | str) and type(found) not in kinds and kinds & {int, float}:
                faults.append({"type": "float_type" if float in kinds else "int_type", "loc": (name,), "input": found})
        if faults:
            raise ValidationError.from_exception_data(cls.__name__, faults)
        return value

    @model_validator(mode="before")
    @classmethod
    def _no_keys_but_its_own(cls, value: Any) -> Any:
        """A misspelt key is told before the one that is then missing, with the keys that it may have meant."""
        strange = [key for key in value if key not in cls.model_fields] if isinstance(value, dict) else []
        if strange:
            near = {key: f"unknown key; {nearest(str(key), cls.model_fields)}" for key in strange}
            told = "; ".join(f"{key}: {words}" for key, words in near.items())
            raise PydanticCustomError("unknown_key", "{told}", {"told": told, "near": near})
        return value


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], value: object, where: str, context: dict[str, Any] | None = None) -> Model:
    """`value` as a `model`.

    `context` is for validators that need to know more than the value.

    Raises:
        PapertrailError: names `where` and the keys that are unknown or wrong, what stands there and what is expected.
    """
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        faults = list(_faults(value, error))
        more = f"; and {len(faults) - MOST} more" if len(faults) > MOST else ""
        told = " ".join(f"{'; '.join(faults[:MOST])}{more}".split())  # a key, or a name that is told, may have lines
        raise PapertrailError(f"{where}: {told}") from error


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation unites."""
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_kinds, get_args(annotation)))
    return {get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation}


def _faults(value: Any, error: ValidationError) -> Iterator[str]:
    """A sentence for each key that is wrong. Where one of several kinds is wanted, pydantic has a fault for each."""
    found: dict[tuple[Any, ...], list[Any]] = {}
    for fault in error.errors():
        place = _place(value, fault["loc"])
        if fault["type"] == "unknown_key":
            found |= {(*place, key): [{**fault, "msg": words}] for key, words in fault["ctx"]["near"].items()}
        elif fault["type"] == "missing":
            found[*place, fault["loc"][-1]] = [{**fault, "msg": "missing"}]
        else:
            found.setdefault(place, []).append(fault)
    for place, faults in found.items():
        if any(other[: len(place)] == place != other for other in found):
            continue  # of several kinds the one that was meant is the one that was read further
        yield ": ".join(filter(None, [".".join(map(str, place)), _words(faults)]))


def _place(value: Any, steps: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where in `value` a fault is: pydantic's steps without the names that it gives to alternatives."""
    place = []
    for step in steps:
        within = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list | tuple) else ()
        if step in within:
            value = value[step]
            place.append(step)
    return tuple(place)


def _words(faults: list[Any]) -> str:
    """Of faults at one place: what is expected there, and what stands there."""
    kinds = [EXPECTED.get(fault["type"]) or EXPECTED.get(fault["type"].partition("_")[0]) for fault in faults]
    fault = faults[kinds.index(None) if None in kinds else 0]
    found = json.dumps(fault["input"], ensure_ascii=False, default=str, skipkeys=True)
    found = found if len(found) <= WIDTH else f"{found[:WIDTH]}..."
    if None not in kinds:
        expected = [str(kind).format(**fault.get("ctx", {})) for kind, fault in zip(kinds, faults, strict=True)]
        return f"expected {' or '.join(dict.fromkeys(expected))}, found {found}"
    message = fault["msg"].removeprefix("Value error, ")
    clear = isinstance(fault["input"], dict | list) or str(fault["input"]) in message
    return message if clear else f"{message} (found {found})"
