"""What upstream.json has of others' trained networks, told without loading any of them."""

from __future__ import annotations

from pathlib import Path

from shared.errors import PapertrailError, UsageError, nearest
from shared.files import read_json
from shared.schema import Strict, validated
from shared.weights.card import home


class Given(Strict):
    """A network as its evaluation left it; see `shared.weights.published.Published`.

    Attributes:
        source: where it was published.
        sha256: of the file.
        licence: of the file; None where its source states none.
        says: its top-1 accuracy in percent as published; None where none was.
        top1: in our network, percent.
    """

    source: str
    sha256: str
    licence: str | None
    says: str | None
    top1: float


def given_to(slug: str) -> dict[str, Given]:
    """The networks of a paper's upstream.json by their names; PapertrailError when it is missing or malformed."""
    file = _file(slug)
    if not file.is_file():
        raise PapertrailError(f"{file}: missing; `python -m papers.{slug}.upstream` writes it")
    return {name: validated(Given, found, f"{file}: {name}") for name, found in read_json(file).items()}


def given(reference: str) -> Given:
    """`<slug>/<name>`, one of them; UsageError names the nearest."""
    slug, _, name = reference.partition("/")
    known = given_to(slug)
    if name not in known:
        raise UsageError(f"{_file(slug)}: has no network `{name}`; {nearest(name, known)}")
    return known[name]


def _file(slug: str) -> Path:
    return home(slug) / "upstream.json"
