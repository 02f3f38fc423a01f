from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import nearest

MANY = [f"digits-arm{number}-0" for number in range(300)]


@pytest.mark.parametrize(
    ("word", "names", "said"),
    [
        ("gostnet", ["adder_detection", "eca_net", "ghostnet"], "did you mean ghostnet?"),
        ("GHOSTNET", ["adder_detection", "ghostnet"], "did you mean ghostnet?"),
        ("vgg16", ["VGG16", "VGG19", "ghost"], "did you mean VGG16 or VGG19?"),
        ("resnet", ["attention_resnet20", "ghost"], "did you mean attention_resnet20?"),
        ("x", ["mini", "small"], "there are mini, small"),
        ("", ["mini", "small"], "there are mini, small"),
        ("x", [], "there is none"),
        ("digits-arm17-9", MANY, "did you mean digits-arm17-0 or digits-arm217-0 or digits-arm197-0?"),
    ],
)
def test_a_name_that_nothing_has_gets_the_nearest(word: str, names: list[str], said: str) -> None:
    assert nearest(word, names) == said


@given(st.text(), st.lists(st.text(min_size=1, max_size=20), max_size=400))
def test_never_more_names_than_a_line_holds(word: str, names: list[str]) -> None:
    assert len(nearest(word, names)) <= 10 * 22 + 40


def test_of_many_names_the_first_are_shown_and_the_rest_counted() -> None:
    assert nearest("???", MANY).startswith("there are digits-arm0-0, ") and nearest("???", MANY).endswith("290 more")
