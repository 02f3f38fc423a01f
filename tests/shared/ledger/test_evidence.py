"""Records decide only while they are what params.yaml states; the very changes that once went unseen are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.checkpoints.pin import pin
from shared.errors import PapertrailError
from shared.ledger.evidence import ArmResult, arm_result
from shared.training.protocol import load_protocol

from ..checkpoints import conftest as pinned
from ..checkpoints.conftest import Change, make_run

repository, change = pinned.repository, pinned.change


@pytest.fixture
def chain(repository: Path) -> None:
    """Both seeds of `ghost` and of `tuned`, pinned."""
    for seed in (3, 4):
        ghost = make_run(repository, seed=seed, weights=seed, metrics={"top1": 10.0 + seed})
        tuned = make_run(repository, "tuned", seed, start=ghost, weights=10 + seed, metrics={"top1": 20.0 + seed})
    pin([ghost.parent.parent, tuned.parent.parent])


def result(repository: Path, arm: str = "tuned", metric: str = "top1") -> ArmResult | None:
    protocol = load_protocol(repository / "papers/ghostnet/params.yaml", "tiny")
    return arm_result("ghostnet", "tiny", protocol, arm, metric)


def test_the_values_of_every_stated_seed(repository: Path, chain: None, change: Change) -> None:
    found = result(repository)
    assert found is not None and found.values == {3: 23.0, 4: 24.0} and found.mean == 23.5


def test_seeds_are_not_chosen_after_the_fact(repository: Path, chain: None, change: Change) -> None:
    change("repeats", to=1)
    with pytest.raises(PapertrailError, match=r"seed 4 is pinned too, which params\.yaml does not state"):
        result(repository)


def test_what_nobody_pinned_is_no_evidence(repository: Path, change: Change) -> None:
    make_run(repository)
    assert result(repository, "ghost") is None
    pin([make_run(repository, seed=seed) for seed in (3, 4)])
    assert result(repository, "ghost") is not None and result(repository, "tuned") is None


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        (("recipe", "optimiser", "lr"), 0.05, r"chain\.ghost\.recipe\.optimiser\.lr` is 0.1, params.yaml states 0.05"),
        (("recipe", "schedule"), {"name": "cosine"}, r"chain\.ghost\.recipe\.schedule\.name"),
        (("arms", "ghost", "args", "s"), 4, r"args\.s` is 2, params.yaml states 4"),
        (("arms", "ghost", "builder"), "vgg16", r"`model` is ghost_vgg16"),
        (("arms", "tuned", "weights"), "random", r"chain\.tuned\.weights` is inherited, params.yaml states random"),
        (("arms", "tuned", "recipe"), {**pinned.RECIPE, "epochs": 9}, r"chain\.tuned\.recipe\.epochs"),
        (("arms", "tuned", "of"), "base", r"its arms are ghost - tuned, params.yaml states base - tuned"),
        (("trainer",), {"channels_last": True}, r"trainer\.channels_last"),
        (("data",), "fashion_mnist", r"`data` is mnist5k"),
    ],
)
def test_any_other_plan_is_refused_by_name(
    repository: Path, chain: None, change: Change, keys: tuple[str, ...], value: Any, named: str
) -> None:
    change("arms", "base", to={"builder": "ghost_vgg16", "args": pinned.ARGS})
    change(*keys, to=value)
    with pytest.raises(PapertrailError, match=rf"tiny\.json: `tuned`: its plan is not .*{named}"):
        result(repository)


def test_other_pixels_are_another_plan(repository: Path, chain: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared import datasets
    from shared.checkpoints import records

    known = datasets.spec("mnist5k").fingerprint

    def other(*what: Any) -> dict[str, Any]:
        return pinned.stated(*what) | {"data_hash": "0" * 64}

    monkeypatch.setattr(records, "stated", other)
    with pytest.raises(PapertrailError, match=f"`data_hash` is {known}"):
        result(repository)


def test_a_key_that_is_younger_than_the_record_has_its_default(
    repository: Path, chain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.ledger import evidence

    read = evidence.read_records("ghostnet", "tiny")
    assert read is not None
    for link in read.arms["tuned"].plan["chain"]:
        del link["recipe"]["clip"], link["recipe"]["optimiser"]["nesterov"]
    monkeypatch.setattr(evidence, "read_records", lambda *what: read)
    assert result(repository) is not None
    read.arms["tuned"].plan["chain"][0]["recipe"]["invented"] = 1
    with pytest.raises(PapertrailError, match=r"recipe\.invented` is 1, params.yaml states nothing"):
        result(repository)


def test_a_missing_seed_is_named(repository: Path, chain: None, change: Change) -> None:
    change("repeats", to=3)
    with pytest.raises(PapertrailError, match="seed 5 of `tuned` is not pinned"):
        result(repository)


def test_an_ancestor_that_was_pinned_anew_is_named(repository: Path, chain: None) -> None:
    pin([make_run(repository, seed=4, weights=99)], replace=True)
    with pytest.raises(
        PapertrailError, match="seed 4 of `tuned` goes on from other weights of `ghost` than are pinned"
    ):
        result(repository)


def test_weights_that_the_arguments_name_are_part_of_the_chain(repository: Path, chain: None, change: Change) -> None:
    change("arms", "ghost", "args", "checkpoint", to="ghostnet/ghost-tiny-3")
    with pytest.raises(PapertrailError, match=r"args\.checkpoint` is nothing"):
        result(repository, "ghost")


def test_a_metric_that_was_not_measured_is_named(repository: Path, chain: None) -> None:
    with pytest.raises(PapertrailError, match="no metric `ap`; there are top1"):
        result(repository, metric="ap")
