"""The base of every file format: an unknown key, a wrong type or an impossible value is an error that names the key."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from shared.errors import PapertrailError


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


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], value: object, where: str, context: dict[str, Any] | None = None) -> Model:
    """`value` as a `model`; PapertrailError names `where` and every key that is unknown or wrong.

    `context` is for validators that need to know more than the value.
    """
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        raise PapertrailError(f"{where}: {'; '.join(map(_plain, error.errors()))}") from error


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation unites."""
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_kinds, get_args(annotation)))
    return {get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation}


def _plain(fault: Any) -> str:
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its spelling"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict):  # a rule about several keys: all of them would say little
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (found {str(fault['input'])[:60]!r})"
