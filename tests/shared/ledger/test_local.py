from __future__ import annotations

from pathlib import Path

import pytest

from shared.checkpoints.pin import pin
from shared.errors import PapertrailError
from shared.files import read_json, write_json
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


def test_what_was_not_run_and_evaluated_here_has_no_line(both: Path) -> None:
    write_json(both / "metrics.json", {"top1": {"mean": 50.0, "std": None, "seeds": {"3": 50.0, "4": 50.0}}})
    (both / "seeds/3/run.json").unlink()
    changed = read_json(both / "evaluated/4.json") | {"sha256": "f" * 64}
    write_json(both / "evaluated/4.json", changed)
    assert local_lines("ghostnet") == [], "a fresh clone has metrics.json, which is of another machine"


def test_a_run_here_under_another_plan_is_no_comparison(repository: Path, both: Path) -> None:
    file = both / "seeds/4/run.json"
    run = read_json(file)
    run["plan"]["chain"][0]["recipe"]["epochs"] = 7
    write_json(file, run)
    (line,) = local_lines("ghostnet")
    assert line == (
        "tiny/ghost: seed 4 not compared: the run here was made under another plan "
        "(`chain.ghost.recipe.epochs` is 7, params.yaml states 1)"
    )


def test_a_metric_of_one_side_alone_is_no_comparison(repository: Path, both: Path) -> None:
    make_run(repository, seed=4, weights=9, metrics={"top5": 90.0})
    (line,) = local_lines("ghostnet")
    assert line.startswith("tiny/ghost: seed 4 not compared: no top1 on both sides")


def test_another_plan_is_no_comparison(both: Path, change: Change) -> None:
    change("recipe", "epochs", to=7)
    (line,) = local_lines("ghostnet")
    assert line.startswith(
        "tiny/ghost: not compared: the record was made under another plan (`chain.ghost.recipe.epochs`"
    )


def test_damaged_metrics_are_named(both: Path) -> None:
    (both / "evaluated/4.json").write_text('{"top1": {}}')
    with pytest.raises(PapertrailError, match=r"evaluated/4\.json"):
        local_lines("ghostnet")
