"""The base of every file format: an unknown key, a wrong type or an impossible value is an error that names the key."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.errors import PapertrailError


class Strict(BaseModel):
    """A value that never changes and has no keys but its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], value: object, where: str) -> Model:
    """`value` as a `model`; PapertrailError names `where` and every key that is unknown or wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise PapertrailError(f"{where}: {'; '.join(map(_plain, error.errors()))}") from error


def _plain(fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("<"))  # <kind>: which of a union
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its spelling"
    return f"{key}: {fault['msg']} (found {str(fault['input'])[:60]!r})"
