from __future__ import annotations

from pathlib import Path

import pytest
import torch

from papers.ghostnet import MODELS
from shared import datasets
from shared.checkpoints.evaluate import accuracy
from shared.checkpoints.pin import pin
from shared.checkpoints.verify import verify
from shared.datasets import mnist5k
from shared.datasets.augment import Augment
from shared.errors import UsageError
from shared.weights.card import read_card, seal

from .conftest import ARGS, REF, make_run


def results(ref: str | None) -> dict[str, str]:
    return {check.check: check.result for check in verify(ref)}


def test_verify_checks_everything(repository: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1)
    metrics = {"top1": accuracy(model, "mnist5k", Augment()), "top5": 50.0, "loss": 2.3}
    pin(make_run(tmp_path / "run", data_hash=datasets.fingerprint("mnist5k"), metrics=metrics))
    assert results(REF) == dict.fromkeys(["card", "hash", "digest", "load", "counts", "logits", "metric"], "ok")
    metrics["top1"] += 0.3
    pin(make_run(tmp_path / "run", seed=4, data_hash=datasets.fingerprint("mnist5k"), metrics=metrics))
    assert results("ghostnet/ghost-tiny-4")["metric"] == "failed", "three digits of a thousand"


def test_verify_says_what_data_it_lacks(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path))
    missing = {"missing": ["mnist_5k.csv.gz"]}
    monkeypatch.setattr(datasets, "describe", lambda name: missing)
    pin(make_run(tmp_path / "run", data_hash=datasets.fingerprint("mnist5k")))
    *_, metric = verify(REF)
    assert (metric.result, metric.check) == ("skipped", "metric") and "data not here (mnist_5k.csv.gz)" in metric.detail


def test_damaged_data_fail_and_are_not_skipped(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "mnist_5k.csv.gz"
    content = bytearray(mnist5k.path().read_bytes())
    content[1000] ^= 1
    damaged.write_bytes(content)
    monkeypatch.setattr(mnist5k, "path", lambda: damaged)
    pin(make_run(tmp_path / "run", data_hash=datasets.fingerprint("mnist5k")))
    *_, metric = verify(REF)
    assert metric.result == "failed" and str(damaged) in metric.detail


def test_one_damaged_checkpoint_does_not_hide_the_others(repository: Path, tmp_path: Path) -> None:
    for seed in (1, 2, 3, 4):
        pin(make_run(tmp_path / "run", seed=seed))
    folder = repository / "papers/ghostnet/checkpoints"
    weights = folder / "ghost-tiny-1.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    (folder / "ghost-tiny-2.json").write_text("{}")
    (folder / "ghost-tiny-3.json").unlink()
    checks = list(verify())
    failed = {check.checkpoint[-1]: check for check in checks if check.result == "failed" and check.check != "metric"}
    assert {number: check.check for number, check in failed.items()} == {"1": "hash", "2": "card", "3": "card"}
    assert "ghost-tiny-1.safetensors" in failed["1"].detail and "ghost-tiny-3.json: no such file" in failed["3"].detail
    assert [check.result for check in checks if check.checkpoint[-1] == "4"][:6] == ["ok"] * 6


def test_counts_and_logits_are_checked_against_the_card(repository: Path, finished: Path) -> None:
    pin(finished)
    path = repository / "papers/ghostnet/checkpoints/ghost-tiny-3.json"
    card = read_card(path)
    logits = [list(row) for row in card.golden.logits]
    logits[3][9] += 2e-4
    golden = card.golden.model_copy(update={"logits": tuple(map(tuple, logits))})
    path.write_text(seal(card.model_copy(update={"macs": card.macs + 1, "golden": golden})))
    found = results(REF)
    assert (found["card"], found["counts"], found["logits"]) == ("ok", "failed", "failed")


def test_an_unknown_checkpoint_lists_those_there_are(repository: Path, finished: Path) -> None:
    pin(finished)
    with pytest.raises(UsageError, match="no checkpoint `ghostnet/other`; there are ghostnet/ghost-tiny-3"):
        list(verify("ghostnet/other"))
