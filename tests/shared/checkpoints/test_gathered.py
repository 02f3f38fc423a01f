"""Pinning the folder of a campaign as a whole."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shared.checkpoints.gathered import CAMPAIGN, gather
from shared.checkpoints.pin import pin
from shared.errors import UsageError
from shared.files import write_json
from shared.weights.records import read_records

from .conftest import Change, make_run


@pytest.fixture
def out(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both seeds of `ghost`, one of `tuned`, and what is not finished."""
    for seed in (3, 4):
        ghost = make_run(repository, seed=seed, weights=seed)
    make_run(repository, "tuned", seed=4, start=ghost, weights=5)
    out = tmp_path_factory.mktemp("campaign")
    write_json(out / CAMPAIGN, {})
    shutil.move(repository / "papers/ghostnet/runs", out / "papers/ghostnet/runs")
    (out / "papers/ghostnet/runs/tiny/tuned/seeds/3").mkdir()
    return out


def test_arms_that_are_whole_are_pinned_and_the_others_left(out: Path) -> None:
    found = pin([out])
    assert found.seeds == ("ghostnet/tiny/ghost/3", "ghostnet/tiny/ghost/4")
    assert found.left == ("ghostnet/tiny/tuned: seed 3 of `tuned` is not finished",)
    records = read_records("ghostnet", "tiny")
    assert records is not None and {arm: [*one.seeds] for arm, one in records.arms.items()} == {"ghost": ["3", "4"]}


def test_what_is_pinned_need_not_be_there_again(repository: Path, out: Path) -> None:
    pin([out])
    runs = out / "papers/ghostnet/runs/tiny"
    tuned = make_run(repository, "tuned", seed=3, start=runs / "ghost/seeds/3", weights=6)
    shutil.copytree(tuned, runs / "tuned/seeds/3", dirs_exist_ok=True)
    shutil.copy(tuned.parent.parent / "evaluated/3.json", runs / "tuned/evaluated")
    shutil.rmtree(runs / "ghost")
    assert pin([out]).seeds == ("ghostnet/tiny/tuned/3", "ghostnet/tiny/tuned/4")


def test_a_run_that_was_not_evaluated_is_not_finished_and_an_arm_may_be_gone(out: Path, change: Change) -> None:
    (out / "papers/ghostnet/runs/tiny/ghost/evaluated/4.json").unlink()
    with pytest.raises(UsageError, match=r"no arm is whole yet .*ghost: seed 4 of `ghost` is not finished"):
        gather(out)
    change("arms", to={"ghost": {"builder": "ghost_vgg16"}})
    with pytest.raises(UsageError, match=r"tuned: params.yaml has no such arm any more"):
        gather(out)
    shutil.rmtree(out / "papers")
    with pytest.raises(UsageError, match=r"no arm is whole yet \(nothing was run\)"):
        pin([out])
