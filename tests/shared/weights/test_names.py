"""Published names find their places, one each; what has none is named."""

from __future__ import annotations

import pytest
import torch

from shared.errors import PapertrailError
from shared.weights.names import under_our_names, with_batches_counted

PLACES = {"a.weight": "stem.weight", "b.weight": "head.weight", "c.weight": "head.weight"}


def test_every_tensor_is_handed_on_under_its_new_name() -> None:
    state = {"b.weight": torch.ones(2), "a.weight": torch.zeros(3)}
    renamed = under_our_names(state, PLACES.__getitem__, "a published X")
    assert list(renamed) == ["head.weight", "stem.weight"] and renamed["stem.weight"] is state["a.weight"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a.weight", "d.weight"), r"^`d\.weight` is no name of a published X$"),
        (("b.weight", "c.weight"), r"^`c\.weight` has the place of another tensor, `head\.weight` here$"),
    ],
)
def test_a_strange_name_and_a_place_that_is_taken_are_named(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(PapertrailError, match=message):
        under_our_names(dict.fromkeys(names, torch.zeros(1)), PLACES.__getitem__, "a published X")


def test_norms_that_count_no_batches_have_counted_none_and_the_others_keep_their_count() -> None:
    found = with_batches_counted(
        {"a.running_var": torch.ones(2), "b.running_var": torch.ones(2), "b.num_batches_tracked": torch.tensor(7)}
    )
    assert {name: int(count) for name, count in found.items() if name.endswith("tracked")} == {
        "a.num_batches_tracked": 0, "b.num_batches_tracked": 7,
    }  # fmt: skip
