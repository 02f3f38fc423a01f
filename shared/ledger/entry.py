"""A line of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Verdict = Literal[
    "exact",
    "within",
    "consistent",
    "reproduced",
    "supported",
    "inconclusive",
    "deviates",
    "not reproduced",
    "contradicted",
    "not attempted",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: a claim, what was found here, and the verdict.

    `check` is the kind of check; `ours` is None where nothing was attempted; `protocol` is the one that decided or
    that would; `command` is what anyone can type to see it, or empty where no command can do it; `evidence` is the
    test that shows what `reason` says, or empty.
    """

    paper: str
    id: str
    where: str
    row: str
    quantity: str
    says: str
    ours: str | None
    check: str
    protocol: str | None
    verdict: Verdict
    confidence: str
    reason: str
    command: str
    evidence: str = ""

    @property
    def places(self) -> list[str]:
        """The tables, figures and sections it stands in."""
        return self.where.split(", ")


@dataclass(frozen=True)
class Finding:
    """What the judge makes of one claim; see `Entry`."""

    verdict: Verdict
    ours: str | None = None
    reason: str = ""
    command: str = ""
