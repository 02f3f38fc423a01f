from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import PapertrailError
from shared.ledger import Entry

Judge = Callable[..., Entry]
COUNT = {"kind": "count", "model": "vgg16"}  # 14,724,042 parameters, 313.2 M MACs


def test_a_count_that_rounds_to_the_print_is_exact(verdict: Judge) -> None:
    entry = verdict(COUNT)
    assert (entry.verdict, entry.ours, entry.command) == ("exact", "14.72M", "papertrail count ghostnet vgg16")


def test_a_count_that_does_not_is_explained(verdict: Judge) -> None:
    with pytest.raises(PapertrailError, match=r"`t1\.a`: ours is 14\.724M, the print says 15\.0M; explain it under"):
        verdict(COUNT, says="15.0M")
    entry = verdict(COUNT, says="15.0M", deviates={"reason": "a layer more"})
    assert (entry.verdict, entry.ours, entry.reason) == ("deviates", "14.724M", "a layer more")


def test_what_is_the_print_is_not_explained_away(verdict: Judge) -> None:
    with pytest.raises(PapertrailError, match=r"`t1\.a`: ours is 14\.72M, the print says 15M; remove its `deviates`"):
        verdict(COUNT, deviates={"reason": "a layer more"})


def test_a_variant_is_counted_and_has_to_explain_the_print(verdict: Judge) -> None:
    entry = verdict(COUNT, says="15.0M", deviates={"reason": "A layer more.", "variant": {"hidden": True}})
    assert entry.reason == "A layer more: with hidden=True we count 14.987M."
    with pytest.raises(PapertrailError, match=r"the variant width=0\.5 gives 3\.\d+M, which does not explain 15\.0M"):
        verdict(COUNT, says="15.0M", deviates={"reason": "narrower", "variant": {"width": 0.5}})


def test_a_number_read_off_a_figure_is_never_exact(verdict: Judge) -> None:
    figure = {"quantity": "macs", "confidence": "digitised"}
    assert verdict(COUNT, says="313M", **figure).verdict == "consistent"
    assert verdict(COUNT, says="314M", **figure).verdict == "consistent"
    assert verdict(COUNT, says="315M", deviates={"reason": "far off"}, **figure).verdict == "deviates"


def test_activations_are_counted(verdict: Judge) -> None:
    of_resnet20 = 7 * 16 * 32 * 32 + 6 * 32 * 16 * 16 + 6 * 64 * 8 * 8 + 10  # 19 convolutions, shortcuts without one
    assert verdict({**COUNT, "model": "resnet20"}, quantity="activations", says=str(of_resnet20)).verdict == "exact"


def test_two_operations_for_a_multiply_add(verdict: Judge) -> None:
    check = {**COUNT, "convention": "two operations"}
    assert verdict(check, quantity="macs", says="626M").verdict == "exact"


def test_as_a_tool_counts(verdict: Judge) -> None:
    """VGG-16 has 313.2 M multiply-adds; thop adds normalisation, activation and pooling."""
    entry = verdict({**COUNT, "convention": "thop"}, quantity="macs", says="315M")
    assert (entry.verdict, entry.ours) == ("exact", "314.65M")
    assert entry.command == "papertrail count ghostnet vgg16 --tool thop"
    assert verdict({**COUNT, "convention": "thop"}, says="14.72M").verdict == "exact"


def test_binary_units(verdict: Judge) -> None:
    """14,724,042 parameters are 14.04 times 2^20."""
    entry = verdict({**COUNT, "units": "binary"}, says="14.04M")
    assert (entry.verdict, entry.ours) == ("exact", "14.0419M")


def test_another_input_and_other_classes(verdict: Judge) -> None:
    entry = verdict({**COUNT, "input": [3, 64, 64], "classes": 100}, quantity="macs", says="1.3G")
    assert (entry.verdict, entry.ours) == ("exact", "1.253G")
    assert entry.command.endswith("--input 3,64,64 --classes 100")


@pytest.mark.parametrize("check", [{**COUNT, "model": "vgg61"}, {**COUNT, "args": {"depth": 3}}])
def test_a_network_that_cannot_be_built_is_named(verdict: Judge, check: dict[str, Any]) -> None:
    with pytest.raises(PapertrailError, match=r"`t1\.a`: cannot build `vgg"):
        verdict(check)
