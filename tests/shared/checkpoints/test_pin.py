from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from shared import closure
from shared.checkpoints import pin as pinning
from shared.checkpoints.pin import pin
from shared.closure import digest
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT, read_json, read_yaml, write_json
from shared.training.plan import starts
from shared.training.protocol import load_protocol
from shared.weights.load import load_checkpoint
from shared.weights.records import SeedRecord, read_records

from .conftest import COMMIT, REF, Change, make_run, network_of


def files(repository: Path) -> dict[str, bytes]:
    """Every pinned file, and what it holds."""
    home = repository / "papers/ghostnet"
    found = [*(home / "checkpoints").glob("*"), *(home / "records").glob("*")]
    return {path.name: path.read_bytes() for path in found}


def seeds(arm: str = "ghost") -> dict[str, SeedRecord]:
    records = read_records("ghostnet", "tiny")
    return {} if records is None or arm not in records.arms else records.arms[arm].seeds


def test_a_pinned_run_comes_back_as_the_same_network(repository: Path, finished: Path) -> None:
    (card,) = pin([finished]).checkpoints
    assert card.ref == REF and card.supersedes is None
    model, again = load_checkpoint(REF)
    assert again == card and not model.training
    images = torch.randn(2, 1, 28, 28)
    assert torch.equal(model(images), network_of(finished)(images))


def test_every_seed_of_an_arm_is_pinned_and_weights_only_where_they_are_kept(repository: Path, finished: Path) -> None:
    make_run(repository, seed=4, weights=1, metrics={"top1": 12.5})
    found = pin([finished.parent.parent])
    assert found.seeds == ("ghostnet/tiny/ghost/3", "ghostnet/tiny/ghost/4")
    assert sorted(files(repository)) == ["ghost-tiny-3.json", "ghost-tiny-3.safetensors", "tiny.json"]
    assert {seed: run.metrics["top1"] for seed, run in seeds().items()} == {"3": 10.0, "4": 12.5}
    assert seeds()["3"].curves == {"epoch": (1.0,), "test_top1": (10.0,)}


def test_pinning_the_same_again_changes_nothing(repository: Path, finished: Path) -> None:
    pin([finished])
    before = files(repository)
    pin([finished])
    assert files(repository) == before


def test_another_result_takes_the_place_only_when_asked(repository: Path, finished: Path) -> None:
    pin([finished])
    before = files(repository)
    make_run(repository, weights=1, metrics={"top1": 20.0})
    with pytest.raises(UsageError, match=r"seed 3 of tiny/ghost is pinned with another result; .* --replace"):
        pin([finished])
    assert files(repository) == before
    pin([finished], replace=True)
    assert seeds()["3"].metrics == {"top1": 20.0} and load_checkpoint(REF)[1].sha256 == seeds()["3"].sha256


def test_released_weights_are_superseded_and_never_overwritten(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin([finished])
    before = files(repository)
    monkeypatch.setattr(
        pinning, "release_tag", lambda ref: "papers/ghostnet=ghost-tiny-3@v1.0.0" if ref == REF else None
    )
    make_run(repository, weights=1)
    with pytest.raises(UsageError, match=r"released as papers/ghostnet=ghost-tiny-3@v1.0.0.*`ghost-tiny-3-v2`"):
        pin([finished], replace=True)
    assert files(repository) == before
    paper = repository / "papers/ghostnet/paper.yaml"
    paper.write_text(paper.read_text().replace("- ghost-tiny-3\n", "- ghost-tiny-3\n- ghost-tiny-3-v2\n"))
    (card,) = pin([finished], replace=True).checkpoints
    assert (card.name, card.supersedes) == ("ghost-tiny-3-v2", "ghost-tiny-3")
    kept = {name: content for name, content in files(repository).items() if name in before and name != "tiny.json"}
    assert kept == {name: content for name, content in before.items() if name != "tiny.json"}


def test_a_chain_is_pinned_with_its_ancestors_and_by_their_weights(repository: Path, finished: Path) -> None:
    tuned = make_run(repository, "tuned", start=finished, weights=2)
    with pytest.raises(PapertrailError, match="seed 3 of `ghost` is not pinned; pin its ancestors first"):
        pin([tuned])
    pin([tuned, finished])
    assert seeds("tuned")["3"].start is not None
    make_run(repository, weights=1)
    with pytest.raises(PapertrailError, match="other weights of `ghost` than are pinned now"):
        pin([make_run(repository, "tuned", start=finished, weights=3)], replace=True)
    assert pin([finished], replace=True).refused == (
        "tuned: seed 3 of `tuned` goes on from other weights of `ghost` than are pinned now",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": "a" * 40 + "-dirty"}, "no commit holds"),
        ({"code": "unknown"}, "no commit holds"),
        ({"code": "c" * 40}, "not in this history"),
        ({"sha256": "f" * 64}, "its SHA-256 is"),
        ({"args": {"width": 0.125}}, "has the shape"),
        ({"environment": "short"}, "environment"),
        ({"curves": [{"epoch": 1.0}, {"epoch": "two"}]}, "curves"),
    ],
)
def test_a_run_that_cannot_be_trusted_is_refused_and_nothing_is_left(
    repository: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PapertrailError, match=message):
        pin([make_run(repository, **changes)])
    assert files(repository) == {}


def without_git(repository: Path) -> Path:
    """A run whose code is unknown, as it is where the sources of this checkout were taken without git."""
    protocol = load_protocol(repository / "papers/ghostnet/params.yaml", "tiny")
    made, measured = (digest(starts("ghostnet", protocol, "ghost", action)) for action in ("train", "evaluate"))
    run = make_run(repository, code="unknown")
    result = read_json(run / "run.json")
    write_json(run / "run.json", result | {"plan": result["plan"] | {"sources_digest": made}})
    evaluated = run.parent.parent / "evaluated/3.json"
    write_json(evaluated, read_json(evaluated) | {"code": "unknown", "sources_digest": measured})
    return run


def test_sources_without_git_are_recognised_by_what_they_are(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = without_git(repository)
    here = "d" * 40
    monkeypatch.setattr(pinning, "git_commit", lambda: f"{here}-dirty")
    with pytest.raises(PapertrailError, match=f"they are not those that are here .{here}-dirty."):
        pin([run])
    monkeypatch.setattr(pinning, "git_commit", lambda: here)
    pin([run])
    assert seeds()["3"].code == here


@pytest.mark.parametrize(
    ("edited", "done"),
    [
        ("shared/training/fit.py", "made"),
        ("shared/training/accuracy.py", "evaluated"),
        ("papers/ghostnet/model.py", ""),
    ],
)
def test_a_run_of_other_sources_is_refused_without_git(
    repository: Path, monkeypatch: pytest.MonkeyPatch, edited: str, done: str
) -> None:
    run = without_git(repository)
    monkeypatch.setattr(pinning, "git_commit", lambda: "d" * 40)
    tree = closure._tree
    monkeypatch.setattr(closure, "_tree", lambda path: "edited" if path == ROOT / edited else tree(path))
    with pytest.raises(PapertrailError, match=f"{done or 'made'} from sources that no commit holds"):
        pin([run])
    assert files(repository) == {}


def test_a_run_under_another_plan_than_params_yaml_states_is_refused_by_name(
    repository: Path, finished: Path, change: Change
) -> None:
    change("recipe", "optimiser", "lr", to=0.2)
    with pytest.raises(PapertrailError, match=r"`chain\.ghost\.recipe\.optimiser\.lr` is 0.1, params.yaml states 0.2"):
        pin([finished])
    change("arms", to={"other": {"builder": "vgg16"}})
    with pytest.raises(PapertrailError, match=r"params\.yaml has no arm `ghost`"):
        pin([finished])


def test_seeds_of_two_plans_do_not_stand_side_by_side(repository: Path, finished: Path, change: Change) -> None:
    make_run(repository, seed=4)
    pin([finished.parent.parent])
    change("recipe", "batch_size", to=16)
    with pytest.raises(UsageError, match="seeds 4 are pinned under another plan; pin every seed of the arm at once"):
        pin([make_run(repository)], replace=True)
    make_run(repository, seed=4)
    assert len(pin([finished.parent.parent], replace=True).seeds) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "f" * 64}, "seeds/3: its weights were not evaluated; evaluate the arm first"),  # but others were
        ({"code": COMMIT + "-dirty"}, "evaluated from sources that no commit holds"),
        ({"code": "unknown"}, "evaluated from sources that no commit holds"),
        ({"code": "c" * 40}, "evaluated at commit c+, which is not in this history"),
        ({"metrics": {}}, r"evaluated/3\.json: metrics"),
    ],
)
def test_metrics_that_are_not_of_these_weights_and_of_a_commit_are_refused(
    repository: Path, finished: Path, changes: dict[str, Any], message: str
) -> None:
    file = finished.parent.parent / "evaluated" / f"{finished.name}.json"
    write_json(file, read_json(file) | changes)
    with pytest.raises(PapertrailError, match=message):
        pin([finished])
    assert files(repository) == {}


def test_metrics_that_git_brought_are_not_this_runs(repository: Path, finished: Path) -> None:
    (finished.parent.parent / "evaluated" / f"{finished.name}.json").unlink()
    write_json(finished.parent.parent / "metrics.json", {"top1": {"mean": 99.0, "std": None, "seeds": {"3": 99.0}}})
    with pytest.raises(PapertrailError, match="were not evaluated"):
        pin([finished])


def test_a_run_whose_weights_are_a_pickle_is_refused(repository: Path, finished: Path) -> None:
    torch.save({"x": torch.zeros(1)}, finished / "weights.safetensors")
    with pytest.raises(PapertrailError, match=r"weights\.safetensors: this is a pickle"):
        pin([finished])


def test_what_else_lies_among_seeds_is_left_alone(repository: Path, finished: Path) -> None:
    shutil.copytree(finished, finished.with_name("3 copy"))
    (finished.parent / ".DS_Store").write_text("")
    assert pin([finished.parent.parent]).seeds == ("ghostnet/tiny/ghost/3",)


def test_a_folder_without_a_run_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        pin([tmp_path])


@pytest.mark.parametrize("place", ["tiny.json", "ghost-tiny-3.safetensors", "ghost-tiny-3.json"])
def test_a_disk_that_fills_up_leaves_nothing(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    flushed = os.fsync

    def full(descriptor: int) -> None:
        if f".{place}." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flushed(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PapertrailError, match=rf"{place}: cannot be written \(No space left"):
        pin([finished])
    # A checkpoint without its record is one that `verify` refuses; a record without its weights cannot be.
    assert "tiny.json" not in files(repository)


def test_the_pinned_plan_is_the_one_that_was_run(repository: Path, finished: Path) -> None:
    pin([finished])
    records = read_records("ghostnet", "tiny")
    assert records is not None
    plan = read_json(finished / "run.json")["plan"]
    assert records.arms["ghost"].plan == {key: plan[key] for key in records.arms["ghost"].plan}
    stated = read_yaml(repository / "papers/ghostnet/params.yaml")["tiny"]["recipe"]
    assert records.arms["ghost"].plan["chain"][0]["recipe"]["batch_size"] == stated["batch_size"]
