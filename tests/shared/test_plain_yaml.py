"""What YAML's two generations of parsers read alike is read as they do; everything else is refused by line and key."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from shared.errors import PapertrailError
from shared.files import ROOT
from shared.plain_yaml import parse_yaml

DVC = YAML(typ="safe")  # as DVC reads params.yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mini:\n  seed: 0\n  what: x\n  seed: 1", "line 4: `mini.seed` stands in line 2 too; remove one"),
        ("{a: 1, 'a': 2}", "line 1: `a` stands in line 1 too"),
        ("a:\n- b: {c: 1}\n- b: {c: 1,\n       c: 2}", "line 4: `a.b.c` stands in line 3 too"),
        ("mini: {seed: 010}", "line 1: `mini.seed`: readers of YAML take `010` differently; write the decimal number"),
        ("a: [1,\n  1_000]", "line 2: `a`: readers of YAML take `1_000` differently"),
        ("a: off", "line 1: `a`: readers of YAML take `off` differently; write true or false"),
        ("No: 1", "line 1: `No`: readers of YAML take `No` differently"),
        ("a: [1", "not valid YAML (while parsing a flow sequence"),
        ("a: 2020-02-31", "not valid YAML (day is out of range"),
        ("? [1]\n: 2", "not valid YAML (while constructing a mapping"),
        ("a: !!python/name:os.system", "not valid YAML (could not determine a constructor"),
    ],
)
def test_what_is_stated_twice_or_has_two_readings_is_refused(text: str, message: str) -> None:
    with pytest.raises(PapertrailError) as caught:
        parse_yaml(text, "params.yaml")
    assert str(caught.value).startswith(f"params.yaml: {message}")


@pytest.mark.parametrize(
    "text", ["08", "-017", "0o10", "+0o7", "1:30", "1:30.5", "0x1_0", "1_0.5", "1_0e5", "-_", "-_1", "yes", "ON"]
)
def test_a_scalar_with_two_readings_is_a_word_in_quotes_alone(text: str) -> None:
    with pytest.raises(PapertrailError, match="differently"):
        parse_yaml(text, "x")
    assert parse_yaml(f"'{text}'", "x") == text


def same(text: str) -> Any:
    """What a scalar is to both parsers."""
    ours, theirs = parse_yaml(text, "x"), DVC.load(text)
    assert (type(ours), ours) == (type(theirs), theirs), text
    return ours


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E5", 1e5), ("1.0e5", 1e5), ("+.5", 0.5), ("5.", 5.0), ("-0", 0), ("0.10", 0.1), ("0x1F", 31),
     ("y", "y"), ("1.2.3", "1.2.3"), ("1_a", "1_a"), ("_1", "_1"), ("a_1", "a_1"), ("true", True), ("~", None),
     ("", None)],
)  # fmt: skip
def test_a_scalar_is_what_it_is_to_dvc(text: str, value: object) -> None:
    assert same(text) == value


@given(st.from_regex(r"[-+]?[0-9_xob:.]{1,5}([eE][-+]?[0-9]{1,2})?", fullmatch=True, alphabet="0123456789_xobeE:.+-"))
def test_no_number_is_another_to_dvc(text: str) -> None:
    try:
        parse_yaml(text, "x")
    except PapertrailError:
        return
    same(text)


def test_an_alias_may_stand_twice_and_within_its_own_node() -> None:
    assert parse_yaml("a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}", "x") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }
    assert parse_yaml("x: &x [*x]", "x")["x"][0][0] is not None


def test_dvc_reads_every_file_as_we_do() -> None:
    for path in (*ROOT.glob("papers/*/params.yaml"), *ROOT.glob("data/*/set.yaml")):
        text = path.read_text(encoding="utf-8")
        assert parse_yaml(text, str(path)) == DVC.load(text), path
