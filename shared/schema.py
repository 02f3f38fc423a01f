"""The base of every file format: an unknown key, a wrong type or an impossible value is an error that names the key."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import PapertrailError


class Strict(BaseModel):
    """A value that never changes and has no keys but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], value: object, where: str, context: dict[str, Any] | None = None) -> Model:
    """`value` as a `model`; PapertrailError names `where` and every key that is unknown or wrong.

    `context` is for validators that need to know more than the value.
    """
    try:
        return model.model_validate(value, context=context)
    except ValidationError as error:
        raise PapertrailError(f"{where}: {'; '.join(map(_plain, error.errors()))}") from error


def _plain(fault: Any) -> str:
    key = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its spelling"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict):  # a rule about several keys: all of them would say little
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (found {str(fault['input'])[:60]!r})"
