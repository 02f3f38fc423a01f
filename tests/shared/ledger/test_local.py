from __future__ import annotations

from pathlib import Path

import pytest

from shared.checkpoints.pin import pin
from shared.errors import PapertrailError
from shared.ledger.local import local_lines

from ..checkpoints import conftest as pinned
from ..checkpoints.conftest import Change, make_run

repository, change = pinned.repository, pinned.change


@pytest.fixture
def both(repository: Path) -> Path:
    """Both seeds of `ghost`, pinned; the arm's folder."""
    runs = [make_run(repository, seed=seed, weights=seed, metrics={"top1": 50.0}) for seed in (3, 4)]
    pin(runs)
    return runs[0].parent.parent


def test_equal_weights_agree_to_the_bit(both: Path) -> None:
    assert local_lines("ghostnet") == ["tiny/ghost: agrees to the bit"]


def test_other_weights_agree_within_a_point(repository: Path, both: Path) -> None:
    make_run(repository, seed=4, weights=9, metrics={"top1": 50.75})
    assert local_lines("ghostnet") == [
        "tiny/ghost: agrees (largest difference 0.75 points of top1, tolerance 1)",
    ]


def test_a_seed_that_differs_is_named_with_both_numbers(repository: Path, both: Path) -> None:
    make_run(repository, seed=4, weights=9, metrics={"top1": 47.5})
    assert local_lines("ghostnet") == ["tiny/ghost: seed 4 differs (top1: ours 47.50, theirs 50.00)"]


def test_what_was_not_run_here_has_no_line(both: Path) -> None:
    (both / "metrics.json").unlink()
    assert local_lines("ghostnet") == []


def test_another_plan_is_no_comparison(both: Path, change: Change) -> None:
    change("recipe", "epochs", to=7)
    (line,) = local_lines("ghostnet")
    assert line.startswith(
        "tiny/ghost: not compared: the record was made under another plan (`chain.ghost.recipe.epochs`"
    )


def test_damaged_metrics_are_named(both: Path) -> None:
    (both / "metrics.json").write_text('{"top1": {}}')
    with pytest.raises(PapertrailError, match=r"metrics\.json: no seeds of `top1`"):
        local_lines("ghostnet")
