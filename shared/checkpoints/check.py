"""One line of what verifying found: a check that holds, that fails, or that this machine cannot make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shared import datasets
from shared.errors import NotInstalled, PapertrailError

Result = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One line of the report; "skipped" says what is missing."""

    checkpoint: str
    check: str
    result: Result
    detail: str


class Lacking(PapertrailError):
    """A check needs what is not here, and that is no fault of what is checked."""


def checked(what: str, check: str, work: Callable[[], str]) -> Check:
    """The line of a check: `work` gives its detail, or raises the error that says what fails or is lacking."""
    try:
        return Check(what, check, "ok", work())
    except (Lacking, NotInstalled) as error:
        return Check(what, check, "skipped", str(error))
    except ModuleNotFoundError as error:
        return Check(what, check, "skipped", f"{error.name} is not installed: `papertrail doctor` says how to get it")
    except PapertrailError as error:
        return Check(what, check, "failed", str(error))


def require_data(name: str) -> None:
    """Lacking, when files of a data set are not here; DataError, when they are damaged."""
    missing = datasets.describe(name)["missing"]
    if missing:
        raise Lacking(f"data not here ({', '.join(missing)}): `papertrail data {name}`")
