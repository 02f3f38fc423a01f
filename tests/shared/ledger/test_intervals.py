from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from shared.ledger.intervals import Difference, decide, welch

samples = st.lists(st.integers(min_value=0, max_value=10_000).map(lambda n: n / 100), min_size=2, max_size=6)


@pytest.mark.filterwarnings("ignore:Precision loss")
@given(samples, samples)
def test_the_interval_is_that_of_scipy(better: list[float], than: list[float]) -> None:
    assume(len(set(better)) > 1 or len(set(than)) > 1)
    found = welch(better, than)
    expected = stats.ttest_ind(better, than, equal_var=False).confidence_interval(0.95)
    assert found.low == pytest.approx(expected.low, rel=1e-6, abs=1e-6)
    assert found.high == pytest.approx(expected.high, rel=1e-6, abs=1e-6)


@given(samples, samples)
def test_turning_the_arms_round_turns_the_interval_round(better: list[float], than: list[float]) -> None:
    one, other = welch(better, than), welch(than, better)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))


@pytest.mark.parametrize("spread", [1.0, 10.0])
def test_of_three_seeds_94_to_97_intervals_in_100_hold_the_true_difference(spread: float) -> None:
    draw = np.random.default_rng(0)
    found = [welch(draw.normal(2, 1, 3).tolist(), draw.normal(0, spread, 3).tolist()) for _ in range(4000)]
    assert 0.93 < np.mean([one.low <= 2 <= one.high for one in found]) < 0.98  # two standard errors are 0.007


def test_without_spread_the_interval_has_no_width() -> None:
    assert welch([2.0, 2.0], [1.0, 1.0]) == Difference(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (0.1, 2.0, 0.0, "supported"),
        (-0.9, 2.0, 1.0, "supported"),
        (-2.0, -0.1, 0.0, "contradicted"),
        (-3.0, -1.1, 1.0, "contradicted"),
        (-0.1, 0.1, 0.0, "inconclusive"),
        (-1.1, 2.0, 1.0, "inconclusive"),
        (0.0, 1.0, 0.0, "inconclusive"),
        (-1.0, -1.0, 1.0, "inconclusive"),
        (0.0, 0.0, 1.0, "inconclusive"),  # equal scores without spread
        (9.0, 9.0, 0.0, "inconclusive"),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, margin: float, verdict: str) -> None:
    assert decide(Difference((low + high) / 2, low, high), margin) == verdict
