"""What papers/<slug>/claims.yaml may say: the paper's tables, row by row, as they are printed.

What is stated of an exhibit holds for its rows; of a row, for its numbers; of a column, for that column in every row;
of a number, for it alone. The later of these wins.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.ledger.claims import Arguments, Confidence, Convention, Explanation, Quantity, ShortTest, Units
from shared.schema import Strict

NAME = r"[a-z0-9_]+"  # of an explanation: a reason that is one such word names one
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Places = tuple[str, ...] | dict[str, tuple[str, ...]]


class Stated(Strict):
    """What an exhibit, a row, a column or a number may state.

    Attributes:
        model: a builder of the paper's MODELS; what can be counted is counted with it.
        args: its arguments.
        input: (C, H, W), when not what the model was made for.
        classes: when not what the model was made for.
        convention: how the paper counts; see `CountCheck`.
        units: what K, M and G of the print are; see `CountCheck`.
        data: the set that measuring needs; the protocol of `arm` must have it.
        arm: the run that would measure it, as "<protocol>/<arm>"; "{step}" in it stands for the column's `step`.
        tolerance: how far that run may lie from the print; see `MeasureCheck`.
        arithmetic: the test that shows that it follows from other numbers; `false` where a column's does not hold.
        confidence: how it is known that the paper says so.
        reason: why it is not attempted, beyond what its protocol needs; of what is counted or follows, what else is to
            know, and then of a number alone. One of the file's `explanations` is named by one word.
        evidence: the test that shows what `reason` says.
    """

    model: str | None = None
    args: Arguments = {}
    input: tuple[int, int, int] | None = None
    classes: int | None = None
    convention: Convention = "multiply-add"
    units: Units = "decimal"
    data: str | None = None
    arm: Annotated[str, Field(pattern=r"^[\w{}.-]+/[\w{}.-]+$")] | None = None
    tolerance: Annotated[float, Field(gt=0)] | None = None
    arithmetic: ShortTest | Literal[False] = False
    confidence: Confidence | None = None
    reason: str = ""
    evidence: ShortTest | None = None


class Column(Stated):
    """A column of a table.

    Attributes:
        quantity: what it holds, when the column's name in `says` is another word.
        row: what is added to the names of the rows, where one network fills several rows of the ledger.
        step: what stands for "{step}" in the rows' `arm`.
        metric: of a run, where it is not the quantity's own: `mask_ap`.
    """

    quantity: Quantity | None = None
    row: str = ""
    step: str = ""
    metric: str | None = None


class Number(Column):
    """A printed number of which something else holds than of its row and its column."""

    says: str


class Row(Stated):
    """A row of a table.

    Attributes:
        row: its name.
        id: of its claims, when not the name in small letters; empty when they need none.
        says: by column, exactly as printed.
        also: other places that print it; with the columns that they print, when not all.
        deviates: by column, why our count is not the print; or the name of one of the file's `explanations`.
    """

    row: str
    id: str | None = None
    says: dict[str, str | Number]
    also: Places = ()
    deviates: dict[str, str | Explanation] = {}


class Ordering(Strict):
    """Something is better than something else, as the paper states; tested under each of `protocols`, or not at all.

    Attributes:
        id: of its claims, which add the protocol's name.
        row: what is compared.
        says: what the paper prints.
        See `RunCheck` for the others.
    """

    id: str
    row: str
    says: str
    protocols: tuple[str, ...]
    better: str
    than: str
    metric: str = "top1"
    margin: float = 0.0
    floor: dict[str, float]
    criterion: str
    confidence: Confidence | None = None
    reason: str = ""


class Oracle(Strict):
    """What a test compares with an independent implementation."""

    id: str
    row: str
    says: str
    test: ShortTest


class Exhibit(Stated):
    """A table, a figure or a section of the paper.

    Attributes:
        exhibit: its name.
        id: of its claims, when not "t5" for "Table 5" and "f6" for "Figure 6".
        columns: what holds of a column; one of which nothing holds need not stand here.
        explanations: reasons that are named in several places, of this exhibit or another.
    """

    exhibit: str
    id: str | None = None
    columns: dict[str, Column] = {}
    explanations: dict[Name, Explanation] = {}
    rows: tuple[Row, ...] = ()
    orderings: tuple[Ordering, ...] = ()
    oracles: tuple[Oracle, ...] = ()
