"""The words of a wrong file: the key, what stands there, what is expected, and of a misspelt key the nearest."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, PositiveInt, model_validator

from shared.datasets.spec import DatasetSpec
from shared.errors import PapertrailError
from shared.files import ROOT
from shared.ledger.exhibits import Exhibit
from shared.paper import Paper
from shared.schema import Strict, validated
from shared.training.protocol import Protocol

Share = Annotated[float, Field(ge=0, lt=1)]


class Part(Strict):
    name: Literal["sgd", "adamw"]
    epochs: PositiveInt = 1
    betas: tuple[Share, Share] = (0.9, 0.99)

    @model_validator(mode="after")
    def _whole(self) -> Part:
        if self.name == "sgd" and self.epochs > 9:
            raise ValueError("`sgd` needs few epochs")
        return self


class Whole(Strict):
    title: str
    share: Share | dict[str, Share] = 0.5
    args: dict[str, bool | int | float | str] = {}
    parts: tuple[str | Part, ...] = ()
    named: dict[Annotated[str, Field(pattern="^[a-z]+$")], Part] = {}
    floor: Annotated[dict[str, float], Field(min_length=1)] = {"top1": 1.0}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"titel": "x"}, "titel: unknown key; did you mean title?"),
        ({"title": "x", 7: 1}, "7: unknown key; there are title, share, args, parts, named, floor"),
        ({"title": "x", "arg": None, "parst": 1}, "arg: unknown key; did you mean args?; parst: unknown key"),
        ({}, "title: missing"),
        ({"title": None}, "title: expected text, found null"),
        ({"title": "x", "share": 2}, "share: expected a number below 1 or a mapping, found 2"),
        ({"title": "x", "share": -0.5}, "share: expected a number of at least 0 or a mapping, found -0.5"),
        ({"title": "x", "share": {"conv": "a-b"}}, 'share.conv: expected a number, found "a-b"'),
        ({"title": "x", "args": {"a": [1]}}, "args.a: expected true or false or a whole number or a number or text"),
        ({"title": "x", "parts": 3}, "parts: expected a list, found 3"),
        ({"title": "x", "parts": [3]}, "parts.0: expected text or a mapping, found 3"),
        ({"title": "x", "parts": ["a", {"nam": 1}]}, "parts.1.nam: unknown key; did you mean name?"),
        ({"title": "x", "parts": [{"name": "sdg"}]}, "parts.0.name: expected 'sgd' or 'adamw', found \"sdg\""),
        ({"title": "x", "parts": [{}]}, "parts.0.name: missing"),
        ({"title": "x", "named": {"A": {"name": "sgd"}}}, 'named.A: expected text of the form ^[a-z]+$, found "A"'),
        ({"title": "x", "named": {"a": []}}, "named.a: expected a mapping, found []"),
        ({"title": "x", "named": {"a": {"name": "sgd", "epochs": 0}}}, "a.epochs: expected a number above 0, found 0"),
        ({"title": "x", "named": {"a": {"name": "sgd", "epochs": 1.5}}}, "epochs: expected a whole number, found 1.5"),
        ({"title": "x", "named": {"a": {"name": "sgd", "epochs": 10}}}, "named.a: `sgd` needs few epochs"),
        ({"title": "x", "named": {"a": {"name": "sgd", "betas": [0.1]}}}, "named.a.betas.1: missing"),
        ({"title": "x", "named": {"a": {"name": "sgd", "betas": [0, 0, 0]}}}, "betas: expected at most 2 entries"),
        ({"title": "x", "floor": {}}, "floor: expected at least 1 entries, found {}"),
        ({"title": ["y" * 99]}, f'title: expected text, found ["{"y" * 58}...'),
        ({"title": 1, "share": [], "args": 2, "parts": 3, "named": 4}, "args: expected a mapping, found 2; and 2 more"),
        (["title"], 'expected a mapping, found ["title"]'),
        (None, "expected a mapping, found null"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_key_value_and_expectation(value: Any, words: str) -> None:
    with pytest.raises(PapertrailError) as caught:
        validated(Whole, value, "made.yaml")
    told = str(caught.value)
    assert told.startswith("made.yaml: ") and words in told and "\n" not in told


FILES: dict[str, tuple[type[Strict], str, Any]] = {  # a format, a file of it, and where in the file it begins
    "params": (Protocol, "papers/network_slimming/params.yaml", "mini"),
    "claims": (Exhibit, "papers/eca_net/claims.yaml", 1),
    "paper": (Paper, "papers/ghostnet/paper.yaml", None),
    "set": (DatasetSpec, "data/coco/set.yaml", None),
}
STRANGE: list[Any] = [None, True, -1, 10**30, 1.5, float("nan"), "", "a-b", "ü\n", [], [None], {}, {"x": 1}, {1: {}}]


@pytest.mark.parametrize("key", ["recipe.task", "recipe.method.name", "arms.pruned-40.prune.by"])
def test_a_name_that_is_no_word_is_told_as_well(key: str) -> None:
    kind, file, name = FILES["params"]
    content = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))[name]
    with pytest.raises(PapertrailError, match=key.rpartition(".")[0]):
        validated(kind, put(content, tuple(key.split(".")), []), file, {"paper": "network_slimming"})


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def put(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = put(value[place[0]], place[1:], new) if place[1:] else new
    return copy


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_stands_in_a_file_is_told_in_one_line_and_in_our_words(name: str, data: st.DataObject) -> None:
    kind, file, key = FILES[name]
    content = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    content = content if key is None else content[key]
    place, new = data.draw(st.sampled_from(places(content))), data.draw(st.sampled_from(STRANGE))
    try:
        validated(kind, put(content, place, new), file, {"paper": file.split("/")[1]})
    except PapertrailError as error:
        told = str(error)
        assert "\n" not in told and len(told) < 700
        assert not any(word in told for word in ("pydantic", "[type", "Input ", "should ", "Value error"))
