"""A paper's bibliography and scope: papers/<slug>/paper.yaml."""

from __future__ import annotations

from shared.errors import UsageError
from shared.files import ROOT, read_yaml
from shared.schema import Strict, validated


class OfficialCode(Strict):
    """The authors' code: where it was read, at which commit, and under which licence it stands."""

    url: str
    commit: str
    licence: str


class NotTested(Strict):
    """A part of the paper that is left out, and why."""

    what: str
    why: str


class Deviation(Strict):
    """Where the replication differs from the paper, and what that is expected to change."""

    what: str
    effect: str


class Replication(Strict):
    """What another group found when it repeated the paper: neither the paper's claim nor our evidence.

    Attributes:
        who: the group, and where it reports.
        how: the recipe, as far as it differs from the paper's.
        found: by the identifier of the paper's claim, the number as that group prints it.
    """

    who: str
    how: str = ""
    found: dict[str, str]


class Paper(Strict):
    """One replicated paper."""

    slug: str
    title: str
    authors: tuple[str, ...]
    venue: str
    year: int
    arxiv: str | None = None
    doi: str | None = None
    bibkey: str
    official_code: OfficialCode
    weights_licence: str
    tested: tuple[str, ...]
    not_tested: tuple[NotTested, ...] = ()
    deviations: tuple[Deviation, ...] = ()
    replications: tuple[Replication, ...] = ()


def papers() -> list[str]:
    """The slugs of every paper, in alphabetical order."""
    return sorted(path.parent.name for path in (ROOT / "papers").glob("*/paper.yaml"))


def load_paper(slug: str) -> Paper:
    """The paper of that slug; UsageError lists the known ones, PapertrailError names what is wrong in its file."""
    if slug not in papers():
        raise UsageError(f"no paper `{slug}`; there are {', '.join(papers())}")
    path = ROOT / "papers" / slug / "paper.yaml"
    return validated(Paper, read_yaml(path), str(path))
