from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

import pytest

from shared import datasets
from shared.builders import build as build_network
from shared.checkpoints import rerun as rerunning
from shared.checkpoints import verify as verifying
from shared.checkpoints.pin import pin
from shared.checkpoints.records import _difference
from shared.checkpoints.rerun import rerun
from shared.checkpoints.verify import verify
from shared.datasets import mnist5k
from shared.detection import build
from shared.errors import DataError, NotInstalled, UsageError
from shared.files import write_text
from shared.training import arms, protocol, run
from shared.training.arms import evaluate_arm, train_arm
from shared.training.classification import ClassificationRecipe
from shared.training.tasks import task_of
from shared.weights.card import read_card, seal
from shared.weights.records import read_records, records_file, sealed

from .conftest import COMMIT, DETECTOR, RECIPE, REF, Change, keep_detector, make_run, network_of


def results(ref: str | None) -> dict[str, str]:
    return {check.check: check.result for check in verify(ref)}


def measured(run: Path) -> dict[str, float]:
    recipe = ClassificationRecipe.model_validate(RECIPE)
    return task_of(recipe).measure(network_of(run), recipe, "mnist5k")


CHECKS = ["card", "hash", "digest", "load", "counts", "logits", "record", "metric"]


def test_verify_checks_everything(repository: Path, finished: Path) -> None:
    metrics = measured(finished)
    pin([make_run(repository, metrics=metrics)])
    assert results(REF) == dict.fromkeys(CHECKS, "ok")
    assert results(None) == dict.fromkeys([*CHECKS, "seal", "plan", "commit"], "ok")
    metrics["top1"] += 0.3
    pin([make_run(repository, metrics=metrics)], replace=True)
    assert results(REF)["metric"] == "failed", "three digits of a thousand"


def test_verify_says_what_data_it_lacks(repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "describe", lambda name: {"missing": ["mnist_5k.csv.gz"]})
    pin([finished])
    *_, metric = verify(REF)
    assert (metric.result, metric.check) == ("skipped", "metric") and "data not here (mnist_5k.csv.gz)" in metric.detail


def test_damaged_data_fail_and_are_not_skipped(
    repository: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "mnist_5k.csv.gz"
    content = bytearray(mnist5k.path(datasets.spec("mnist5k")).read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    pin([finished])
    monkeypatch.setattr(mnist5k, "path", lambda spec: damaged)
    *_, metric = verify(REF)
    assert metric.result == "failed" and str(damaged) in metric.detail


def test_one_damaged_checkpoint_does_not_hide_the_others(repository: Path, change: Change) -> None:
    paper = repository / "papers/ghostnet/paper.yaml"
    names = [f"ghost-tiny-{seed}" for seed in (3, 4, 5, 6)]
    paper.write_text(paper.read_text().replace("- ghost-tiny-3\n", "".join(f"- {name}\n" for name in names)))
    change("repeats", to=4)
    for seed in (3, 4, 5, 6):
        pin([make_run(repository, seed=seed)])
    folder = repository / "papers/ghostnet/checkpoints"
    weights = folder / "ghost-tiny-3.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (folder / "ghost-tiny-4.json").write_text("{}")
    (folder / "ghost-tiny-5.json").unlink()
    checks = [check for check in verify() if "records" not in check.checkpoint]
    failed = {check.checkpoint[-1]: check for check in checks if check.result == "failed" and check.check != "metric"}
    assert {number: check.check for number, check in failed.items()} == {"3": "hash", "4": "card", "5": "card"}
    assert "ghost-tiny-3.safetensors" in failed["3"].detail and "ghost-tiny-5.json: no such file" in failed["5"].detail
    whole = {check.check: check.result for check in checks if check.checkpoint[-1] == "6" and check.check != "metric"}
    assert set(whole.values()) == {"ok"}


def test_counts_and_logits_are_checked_against_the_card(repository: Path, finished: Path) -> None:
    pin([finished])
    path = repository / "papers/ghostnet/checkpoints/ghost-tiny-3.json"
    card = read_card(path)
    logits = [list(row) for row in card.golden.logits]
    logits[3][9] += 2e-4
    golden = card.golden.model_copy(update={"logits": tuple(map(tuple, logits))})
    path.write_text(seal(card.model_copy(update={"macs": card.macs + 1, "golden": golden})))
    found = results(REF)
    assert (found["card"], found["counts"], found["logits"]) == ("ok", "failed", "failed")


def test_a_paper_is_verified_alone(repository: Path, finished: Path) -> None:
    pin([finished])
    shutil.copytree(repository / "papers/ghostnet", repository / "papers/other")  # whose cards and records are not its
    assert {check.checkpoint for check in verify("ghostnet")} == {REF, "ghostnet/records/tiny"}
    assert {check.checkpoint for check in verify()} > {REF, "other/ghost-tiny-3", "other/records/tiny"}
    with pytest.raises(UsageError, match=r"no paper `ghostnt`; did you mean ghostnet\?"):
        list(verify("ghostnt"))


def test_a_detector_is_skipped_where_mmcv_is_not(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> None:
        raise NotInstalled("detectors need MMDetection and mmcv's operators; `make detection` installs it")

    monkeypatch.setattr(build, "require", absent)
    pin([finished])
    detector = keep_detector(repository)
    found = {check.check: check for check in verify(detector.ref)}
    assert {name: check.result for name, check in found.items()} == dict.fromkeys(["card", "hash", "digest"], "ok") | {
        "record": "skipped", "load": "skipped",
    }  # fmt: skip
    assert "`make detection` installs it" in found["load"].detail
    assert [check.checkpoint for check in verify() if check.check == "logits"] == [REF], "the others are not hidden"


def test_a_detector_is_verified(repository: Path) -> None:
    pytest.importorskip("mmcv.ops")
    network = build_network("ghostnet", "retinanet", DETECTOR, 10)
    found = {check.check: check.result for check in verify(keep_detector(repository, network).ref)}
    assert {found[name] for name in ("card", "hash", "digest", "load", "counts", "logits")} == {"ok"}


def test_an_unreadable_paper_fails_and_hides_nothing(repository: Path, finished: Path) -> None:
    pin([finished])
    (repository / "papers/ghostnet/params.yaml").write_text("tiny: {data: nothing}")
    found = results(None)
    assert (found["metric"], found["plan"], found["logits"], found["commit"]) == ("failed", "failed", "ok", "ok")


def test_an_unknown_checkpoint_lists_those_there_are(repository: Path, finished: Path) -> None:
    pin([finished])
    with pytest.raises(UsageError, match="no checkpoint `ghostnet/other`; there are ghostnet/ghost-tiny-3"):
        list(verify("ghostnet/other"))


def test_weights_must_be_those_of_the_record(repository: Path, finished: Path) -> None:
    pin([finished])
    records = read_records("ghostnet", "tiny")
    assert records is not None
    run = records.arms["ghost"].seeds["3"].model_copy(update={"sha256": "f" * 64})
    arm = records.arms["ghost"].model_copy(update={"seeds": {"3": run}})
    write_text(records_file("ghostnet", "tiny"), sealed(records.model_copy(update={"arms": {"ghost": arm}})))
    assert results(REF)["record"] == "failed"


def test_records_are_held_to_their_seal_their_plan_and_their_commit(
    repository: Path, finished: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin([finished])
    change("recipe", "epochs", to=2)
    assert results(None)["plan"] == "failed"
    monkeypatch.setattr(verifying, "commits", lambda: frozenset())
    assert results(None)["commit"] == "failed"
    monkeypatch.setattr(verifying, "commits", lambda: None)
    assert results(None)["commit"] == "skipped"
    path = records_file("ghostnet", "tiny")
    path.write_text(path.read_text().replace('"top1": 10.0', '"top1": 90.0'))
    assert results(None)["seal"] == "failed"


def test_a_run_made_again_is_equal_to_the_bit_or_close_by_metric(
    repository: Path, finished: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = pin([finished]) and read_records("ghostnet", "tiny")
    assert records is not None
    found: dict[str, Any] = {"sha256": records.arms["ghost"].seeds["3"].sha256, "device": "CPU", "torch": "2.13.0"}
    found["metrics"] = {"top1": 10.0}
    monkeypatch.setattr(rerunning, "again", lambda *what: found)
    for ref in ("ghostnet/tiny/ghost/3", REF):
        (check,) = rerun(ref)
        assert (check.result, check.checkpoint) == ("ok", "ghostnet/tiny/ghost/3") and "to the bit" in check.detail
    for top1, result in ((10.9, "ok"), (11.1, "failed")):  # "CPU" names no processor
        found |= {"sha256": "e" * 64, "metrics": {"top1": top1}}
        (check,) = rerun(REF)
        assert check.result == result and "by metric" in check.detail
    change("recipe", "epochs", to=2)
    (check,) = rerun(REF)
    assert check.result == "failed" and "states another plan now" in check.detail
    with pytest.raises(UsageError, match=r"did you mean ghostnet/tiny/ghost/3\?"):
        list(rerun("ghostnet/tiny/ghost/9"))


def test_every_run_of_a_papers_records_is_made_again(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(repository, seed=4, weights=1)
    pin([finished.parent.parent])
    made = []

    def lacking(*what: Any) -> None:
        made.append(what[-2])
        raise DataError("not found")

    monkeypatch.setattr(rerunning, "again", lacking)
    assert [check.result for check in rerun("ghostnet")] == ["failed", "failed"] and made == [3, 4]
    monkeypatch.setattr(datasets, "describe", lambda name: {"missing": ["mnist_5k.csv.gz"]})
    for check in rerun("ghostnet"):
        assert check.result == "skipped" and "data not here (mnist_5k.csv.gz)" in check.detail


def test_other_weights_on_the_records_own_kind_of_processor_fail(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = "A Processor 9000, 2 threads"
    pin([make_run(repository, device=device)])
    found = {"sha256": "e" * 64, "device": device, "torch": "2.13.0", "metrics": {"top1": 10.0}}
    monkeypatch.setattr(rerunning, "again", lambda *what: found)
    (check,) = rerun(REF)
    assert check.result == "failed" and "the record's own kind of processor" in check.detail
    for other in ({"torch": "2.14.0"}, {"device": "A Processor 9000, 4 threads"}):
        monkeypatch.setattr(rerunning, "again", lambda *what, other=other: found | other)
        (check,) = rerun(REF)
        assert check.result == "ok" and "by metric" in check.detail


def test_an_architecture_names_no_processor(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = f"{platform.machine()}, 2 threads"
    pin([make_run(repository, device=device)])
    found = {"sha256": "e" * 64, "device": device, "torch": "2.13.0", "metrics": {"top1": 10.0}}
    monkeypatch.setattr(rerunning, "again", lambda *what: found)
    (check,) = rerun(REF)
    assert check.result == "ok"


def test_a_metric_that_is_younger_than_the_card_is_named(repository: Path) -> None:
    run = make_run(repository)
    metrics = measured(run)
    del metrics["top5"]
    pin([make_run(repository, metrics=metrics)])
    metric = next(check for check in verify(REF) if check.check == "metric")
    assert metric.result == "ok" and "(not on the card)" in metric.detail


def test_a_chain_whose_ancestor_was_replaced_is_no_evidence(repository: Path, finished: Path) -> None:
    pin([finished, make_run(repository, "tuned", start=finished, weights=2)])
    assert results(None)["plan"] == "ok"
    pin([make_run(repository, weights=1)], replace=True)
    (plan,) = (check for check in verify() if check.check == "plan")
    assert plan.result == "failed" and "goes on from other weights of `ghost`" in plan.detail


def test_a_key_that_one_plan_lacks_is_named() -> None:
    assert _difference({"a": None}, {}, "") == "`a` is None, params.yaml states nothing"
    assert _difference({}, {"a": {"b": None}}, "") == "`a` is nothing, params.yaml states {'b': None}"


def test_from_training_to_a_record_that_the_same_run_gives_again(
    repository: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (protocol, run):
        monkeypatch.setattr(module, "ROOT", repository)
    for module in (run, arms):
        monkeypatch.setattr(module, "git_commit", lambda: COMMIT)
    change("recipe", "batch_size", to=500)
    change("repeats", to=1)
    for arm in ("ghost", "tuned"):
        train_arm("ghostnet", "tiny", arm)
        evaluate_arm("ghostnet", "tiny", arm)
    found = pin([repository / "papers/ghostnet/runs/tiny" / arm for arm in ("ghost", "tuned")])
    assert found.seeds == ("ghostnet/tiny/ghost/3", "ghostnet/tiny/tuned/3") and found.refused == ()
    assert set(results(None).values()) == {"ok"}
    (check,) = rerun("ghostnet/tiny/tuned/3")
    assert check.result == "ok" and "to the bit" in check.detail
