"""What upstream.json has of others' trained networks, told without loading any of them."""

from __future__ import annotations

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


def given(reference: str) -> Given:
    """`<slug>/<name>` of a paper's upstream.json.

    Raises:
        PapertrailError: the paper has no such file, or it is malformed.
        UsageError: nothing there has this name; the nearest is named.
    """
    slug, _, name = reference.partition("/")
    file = home(slug) / "upstream.json"
    if not file.is_file():
        raise PapertrailError(f"{file}: missing; `python -m papers.{slug}.upstream` writes it")
    known = read_json(file)
    if name not in known:
        raise UsageError(f"{file}: has no network `{name}`; {nearest(name, known)}")
    return validated(Given, known[name], f"{file}: {name}")
