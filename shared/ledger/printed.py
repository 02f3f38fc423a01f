"""A number as a paper prints it: the print gives the value and its precision.

Of "93.63±0.16" the value is the mean; the paper's own spread decides nothing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "B": 10**9}
BINARY = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "B": 2**30}
_PRINT = re.compile(r"(?P<number>\d+(\.(?P<decimals>\d+))?)(?P<unit>[KMGB]?)(±\d+(\.\d+)?)?")


@dataclass(frozen=True)
class Printed:
    """What "5.2M" says: 5,200,000, known to one tenth of a million.

    Attributes:
        text: as printed.
        value: in plain units, exact.
        unit: the worth of one unit of the last printed digit, in plain units.
        scale: what the letter stands for.
        decimals: printed digits after the point.
    """

    text: str
    value: Fraction
    unit: Fraction
    scale: int
    decimals: int

    def is_print_of(self, value: int | Fraction) -> bool:
        """Whether `value` rounds to this print; a value midway between two prints is a print of both."""
        return abs(Fraction(value) - self.value) <= self.unit / 2

    def is_read_from(self, value: int | Fraction) -> bool:
        """Whether `value` is as near as a reading off a figure can be: one unit of the last digit."""
        return abs(Fraction(value) - self.value) <= self.unit

    def like(self, value: int | Fraction) -> str:
        """`value` in this print's unit, with two more digits than are printed."""
        letter = self.text[len(self.text.rstrip("KMGB")) :]
        return f"{float(Fraction(value) / self.scale):.{self.decimals + 2}f}{letter}"


def parse_printed(text: str, *, binary: bool = False) -> Printed:
    """Read a printed number, in papers that divide by 2^20 and 2^30 with `binary`; ValueError when `text` is none."""
    found = _PRINT.fullmatch(text)
    if found is None:
        raise ValueError(f"`{text}` is not a printed number such as 5.2M, 313M, 4.1G, 73.9 or 93.63±0.16")
    scale = (BINARY if binary else UNITS)[found["unit"]]
    decimals = len(found["decimals"] or "")
    return Printed(text, Fraction(found["number"]) * scale, Fraction(scale, 10**decimals), scale, decimals)
