"""What evaluating left beside a run: the metrics of this machine, and of which weights they are.

The arm's metrics.json names no weights, and git may have brought it from another machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.files import read_json
from shared.schema import Strict, validated
from shared.weights.card import Hash


class Evaluated(Strict):
    """The content of evaluated/<N>.json, beside seeds/<N>.

    Attributes:
        sha256: of the weights that were measured.
        code: the commit that was checked out, with "-dirty" when sources differed, "unknown" without git.
        sources_digest: of the code that measured; files that are older than it lack it.
        metrics: on the test split.
    """

    sha256: Hash
    code: str
    sources_digest: Hash | None = None
    metrics: Annotated[dict[str, float], Field(min_length=1)]


def read_evaluated(run: Path, sha256: str) -> Evaluated | None:
    """What the weights of that hash gave, beside the folder of their run; None where they were not evaluated.

    PapertrailError when the file is malformed.
    """
    file = run.parent.parent / "evaluated" / f"{run.name}.json"
    if not file.exists():
        return None
    found = validated(Evaluated, read_json(file), str(file))
    return found if found.sha256 == sha256 else None
