from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.ledger import Entry

Judge = Callable[..., Entry]
Pin = Callable[..., None]
RUN = {
    "kind": "run",
    "protocol": "small",
    "better": "ghost",
    "than": "plain",
    "margin": 1.0,
    "floor": {"top1": 20},
    "criterion": "at most one point worse",
}
ORDERING = {"quantity": "ordering", "says": "ghost is not worse"}


@pytest.mark.parametrize(
    ("ghost", "expected"),
    [
        ([93.0, 93.1, 92.9], "supported"),
        ([92.5, 92.6, 92.4], "supported"),  # worse, but by less than the margin
        ([90.0, 90.1, 89.9], "contradicted"),
        ([91.0, 92.0, 93.0], "inconclusive"),
        ([95.0], "inconclusive"),
    ],
)
def test_runs_decide_an_ordering(ghost: list[float], expected: str, pinned: Pin, verdict: Judge) -> None:
    pinned(ghost=ghost, plain=[93.0, 93.1, 92.9])
    entry = verdict(RUN, **ORDERING)
    assert (entry.verdict, entry.protocol) == (expected, "small")
    assert entry.command == "papertrail train ghostnet small --all"
    assert "at most one point worse" in entry.reason


def test_a_network_that_learned_nothing_decides_nothing(pinned: Pin, verdict: Judge) -> None:
    pinned(ghost=[55.0, 56.0, 57.0], plain=[10.0, 10.0, 10.5])
    entry = verdict(RUN, **ORDERING)
    assert (entry.verdict, entry.ours and entry.ours[:6]) == ("inconclusive", "+45.83")
    assert entry.reason.startswith("plain has a mean top1 of 10.17, below the floor of 20. Criterion")


def test_the_floor_may_be_of_another_metric(pinned: Pin, verdict: Judge) -> None:
    pinned("small_scales", ghost=[55.0, 56.0, 57.0], plain=[1.0, 1.1, 1.2])
    pinned("top1", ghost=[12.0, 11.0, 10.0], plain=[90.0, 91.0, 92.0])
    entry = verdict({**RUN, "metric": "small_scales"}, **ORDERING)
    assert entry.verdict == "inconclusive" and "ghost has a mean top1 of 11.00" in entry.reason


@pytest.mark.parametrize("plain", [93.0, 80.0])
def test_seeds_that_never_differ_decide_nothing(plain: float, pinned: Pin, verdict: Judge) -> None:
    pinned(ghost=[93.0] * 3, plain=[plain] * 3)
    entry = verdict(RUN, **ORDERING)
    assert entry.verdict == "inconclusive" and entry.reason.startswith("Neither arm's seeds differ")


def test_without_records_nothing_is_decided(pinned: Pin, verdict: Judge) -> None:
    pinned(plain=[93.0, 93.1])
    entry = verdict(RUN, **ORDERING)
    assert (entry.verdict, entry.ours) == ("not attempted", None)
    assert entry.reason.startswith("No run of ghost under `small` is pinned yet.")


MEASURE = {"kind": "measure", "protocol": "full", "arm": "plain", "metric": "top1", "tolerance": 0.5}


@pytest.mark.parametrize(
    ("quantity", "says", "expected"),
    [
        ("top1", "93.6", "reproduced"),
        ("top1", "93.6±0.1", "reproduced"),
        ("top1", "92.9", "not reproduced"),
        ("error", "6.4", "reproduced"),
        ("error", "93.5", "not reproduced"),
    ],
)
def test_the_papers_own_recipe_reproduces_its_number_or_not(
    quantity: str, says: str, expected: str, pinned: Pin, verdict: Judge
) -> None:
    pinned(plain=[93.4, 93.5, 93.6])
    entry = verdict(MEASURE, quantity=quantity, says=says)
    assert (entry.verdict, entry.check, entry.protocol) == (expected, "measure", "full")
    assert entry.ours == ("93.500 ± 0.10" if quantity == "top1" else "6.500 ± 0.10")
    assert "over 3 seeds of `full`/`plain`; tolerance: 0.5" in entry.reason


@pytest.mark.parametrize(
    ("quantity", "says", "convention", "expected"),
    [
        ("params", "1.50M", "multiply-add", "reproduced"),  # 1.46: within 5 per cent
        ("params", "1.30M", "multiply-add", "not reproduced"),
        ("macs", "60M", "two operations", "reproduced"),
        ("macs", "60M", "multiply-add", "not reproduced"),
        ("params_saved", "90.0", "multiply-add", "reproduced"),  # of 14.7 M
        ("macs_saved", "75.0", "multiply-add", "not reproduced"),
    ],
)
def test_the_size_that_pruning_leaves(
    quantity: str, says: str, convention: str, expected: str, pinned: Pin, verdict: Judge
) -> None:
    pinned("params", tuned=[1.46e6, 1.47e6])
    pinned("macs", tuned=[29.5e6, 30.5e6])
    metric = quantity.removesuffix("_saved")
    check = {**MEASURE, "arm": "tuned", "metric": metric, "tolerance": 5, "convention": convention}
    entry = verdict(check, quantity=quantity, says=says)
    assert (entry.verdict, entry.command) == (expected, "papertrail train ghostnet full --all")


def test_until_a_record_is_pinned_it_is_a_quote(pinned: Pin, verdict: Judge) -> None:
    entry = verdict(MEASURE, quantity="top1", says="93.6")
    assert (entry.verdict, entry.check, entry.ours, entry.protocol) == ("not attempted", "quote", None, "full")
    assert entry.reason == "Not run: the recipe is here (`full` in params.yaml), and needs one GPU, about 40 hours."
    assert entry.command == "papertrail train ghostnet full plain && papertrail evaluate ghostnet full plain"
