from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ledger.printed import UNITS, parse_printed

counts = st.integers(min_value=1, max_value=10**11)
units = st.sampled_from([letter for letter in UNITS if letter])
digits = st.integers(min_value=0, max_value=3)


def print_as(value: int, unit: str, decimals: int) -> str:
    """Round half up, by whole numbers alone, and print."""
    step = UNITS[unit] // 10**decimals
    whole = (value + step // 2) // step
    if not decimals:
        return f"{whole}{unit}"
    return f"{whole // 10**decimals}.{whole % 10**decimals:0{decimals}d}{unit}"


@given(counts, units, digits)
def test_a_number_is_in_its_own_print(value: int, unit: str, decimals: int) -> None:
    assert parse_printed(print_as(value, unit, decimals)).is_print_of(value)


@given(counts, units, digits)
def test_the_print_reaches_half_a_unit_and_no_further(value: int, unit: str, decimals: int) -> None:
    printed = parse_printed(print_as(value, unit, decimals))
    for side in (-1, 1):
        edge = printed.value + side * printed.unit / 2
        assert printed.is_print_of(edge)
        assert not printed.is_print_of(edge + side * Fraction(1, 1000))
        assert printed.is_read_from(edge + side * Fraction(1, 1000))
        assert not printed.is_read_from(printed.value + side * (printed.unit + 1))


@given(counts, units, digits)
def test_two_prints_of_a_number_are_neighbours(value: int, unit: str, decimals: int) -> None:
    printed = parse_printed(print_as(value, unit, decimals))
    assert abs(printed.value - value) <= printed.unit / 2


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("5.2M", 5_200_000, 100_000),
        ("0.85M", 850_000, 10_000),
        ("313M", 313_000_000, 1_000_000),
        ("4.1G", 4_100_000_000, 100_000_000),
        ("1.3B", 1_300_000_000, 100_000_000),
        ("73.9", Fraction("73.9"), Fraction("0.1")),
        ("93.0", 93, Fraction("0.1")),
        ("15M", 15_000_000, 1_000_000),
    ],
)
def test_the_last_digit_gives_the_precision(text: str, value: int, unit: int) -> None:
    printed = parse_printed(text)
    assert (printed.value, printed.unit) == (value, unit)


@pytest.mark.parametrize("text", ["", "M", "5,2M", "about 5M", "5.M", "-5M", "5.2 M", "5e6", "5.2m"])
def test_what_is_no_printed_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a printed number"):
        parse_printed(text)


def test_ours_is_shown_in_the_print_s_unit_with_two_more_digits() -> None:
    assert parse_printed("5.2M").like(5_181_740) == "5.182M"
    assert parse_printed("4.1G").like(4_089_184_256) == "4.089G"
    assert parse_printed("2").like(Fraction(313, 158)) == "1.98"


@pytest.mark.parametrize(("text", "value", "ours"), [
    ("24.37M", 25_557_032, "24.3731M"), ("3.86G", 4_142_713_880, "3.8582G"),
])  # fmt: skip
def test_binary_units(text: str, value: int, ours: str) -> None:
    printed = parse_printed(text, binary=True)
    assert printed.is_print_of(value) and printed.like(value) == ours
    assert not parse_printed(text).is_print_of(value)
