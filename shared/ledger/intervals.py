"""The interval of the difference between two arms, and what it decides."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """The mean of one sample minus the mean of another, with its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def welch(better: Sequence[float], than: Sequence[float]) -> Difference:
    """Welch's interval for two samples of unequal variances; each needs two values or more.

    Two samples without any spread give an interval of no width.
    """
    mean = statistics.fmean(better) - statistics.fmean(than)
    parts = [statistics.variance(sample) / len(sample) for sample in (better, than)]
    error = sum(parts)
    if error == 0:
        return Difference(mean, mean, mean)
    # Shares of the error, so that the squares of tiny variances cannot underflow.
    shares = [(part / error) ** 2 / (len(sample) - 1) for part, sample in zip(parts, (better, than), strict=True)]
    half = float(stats.t.ppf((1 + LEVEL) / 2, 1 / sum(shares))) * math.sqrt(error)
    return Difference(mean, mean - half, mean + half)


def decide(difference: Difference, margin: float) -> Literal["supported", "contradicted", "inconclusive"]:
    """The verdict on "better, or worse by less than `margin`": the whole interval must lie on one side of -margin."""
    if difference.low > -margin:
        return "supported"
    if difference.high < -margin:
        return "contradicted"
    return "inconclusive"
