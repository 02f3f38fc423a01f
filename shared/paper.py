"""A paper's bibliography, its exhibits and what was found: papers/<slug>/paper.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.errors import PapertrailError, UsageError, nearest
from shared.files import ROOT, read_yaml
from shared.schema import Strict, validated

Point = Annotated[str, Field(max_length=300)]  # longer is read by nobody


class OfficialCode(Strict):
    """The authors' code: where it was read, at which commit, and under which licence it stands."""

    url: str
    commit: str
    licence: str


class Exhibit(Strict):
    """A table or a figure of the paper.

    Attributes:
        name: "Table 4"; claims of its parts, "Table 4(a)" and "Table 4 (CIFAR-10)", belong to it.
        made: the notebook shows what was found, it shows counts alone, or nothing of it is made.
        why: what is missing; only an exhibit that is made needs none.
    """

    name: str = Field(pattern=r"^(Table|Figure) \w+( \(supplement\))?$")
    made: Literal["notebook", "counts only", "no"]
    why: str = ""

    @model_validator(mode="after")
    def _explained(self) -> Exhibit:
        if self.made != "notebook" and not self.why:
            raise ValueError(f"`{self.name}` is not wholly made: say why")
        return self

    def holds(self, place: str) -> bool:
        """Whether a claim that stands in `place` stands in this exhibit."""
        whole = re.sub(r"\(\w\)", "", place)
        return whole == self.name or whole.startswith(f"{self.name} (")


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


class Journal(Strict):
    """Where a paper stands that appeared in a journal: its whole name, and the numbers as printed."""

    name: str
    volume: str
    number: str
    pages: str


class Paper(Strict):
    """One replicated paper.

    Attributes:
        venue: as one says it: "CVPR 2020".
        journal: of a paper that is no contribution to a conference.
        verdict: one sentence: whether the paper's point holds here. `{claim id}` stands for what the ledger found.
        keep: the checkpoints whose weights stay in the repository, "<arm>-<protocol>-<seed>"; a later version of one
            that was released follows it, with "-v2" behind its name.
        main: the claims that the sentence rests on, at most six, with the verdict that each had when it was written.
        learned: what surprised us, a sentence or two each.
        exhibits: every table and figure, in the paper's order.
    """

    slug: str
    title: str
    authors: tuple[str, ...]
    venue: str
    journal: Journal | None = None
    year: int
    arxiv: str | None = None
    doi: str | None = None
    bibkey: str
    official_code: OfficialCode
    weights_licence: str
    keep: tuple[str, ...] = ()
    verdict: str
    main: dict[str, str] = Field(min_length=1, max_length=6)
    learned: tuple[Point, ...]
    exhibits: tuple[Exhibit, ...]
    deviations: tuple[Deviation, ...] = ()
    replications: tuple[Replication, ...] = ()


def papers() -> list[str]:
    """The slugs of every paper, in alphabetical order."""
    return sorted(path.parent.name for path in (ROOT / "papers").glob("[!.]*/paper.yaml"))


def load_paper(slug: str) -> Paper:
    """The paper of that slug; UsageError names the nearest, PapertrailError names what is wrong in its file."""
    if slug not in papers():
        raise UsageError(f"no paper `{slug}`; {nearest(slug, papers())}")
    path = ROOT / "papers" / slug / "paper.yaml"
    paper = validated(Paper, read_yaml(path), str(path))
    if paper.slug != slug:
        raise PapertrailError(f"{path}: slug: `{paper.slug}` is not the folder's name, `{slug}`")
    return paper
