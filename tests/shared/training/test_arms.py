"""An arm from its seeds to its summary."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import PapertrailError
from shared.files import git_commit, read_json, sha256_file
from shared.training import arms
from shared.training.run import lock

from .protocols import tiny

QUICK = tiny(epochs=1, batch_size=500).model_copy(update={"repeats": 2})


@pytest.fixture(autouse=True)
def protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "protocol_with", lambda *_: QUICK)


def test_an_arm_is_trained_then_evaluated_and_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tiny" / "ghost"
    with pytest.raises(PapertrailError, match="`papertrail train ghostnet tiny ghost --seed 0` makes it"):
        arms.evaluate_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    for earlier in ("8", "9"):  # of an earlier protocol
        (folder / "seeds" / earlier).mkdir(parents=True)
    for stray in (".ipynb_checkpoints", "mine"):
        (folder / "seeds" / stray).mkdir()
    (folder / "seeds" / ".DS_Store").touch()
    with lock(folder / "seeds" / "8"):
        arms.train_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    left = sorted(path.name for path in (folder / "seeds").iterdir())
    assert left == [".DS_Store", ".ipynb_checkpoints", "0", "1", "8", "mine"]
    assert "seeds/9: not a seed of this protocol any more" in capsys.readouterr().out
    rows = list(csv.DictReader((folder / "curves.csv").open()))
    assert [(row["seed"], row["epoch"], row["step"]) for row in rows] == [("0", "1", "8"), ("1", "1", "8")]
    assert not (folder / "metrics.json").exists()

    found = arms.evaluate_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    assert found.keys() == {"top1", "top5", "loss"}
    shown = {"mean": found["top1"]["mean"], "std": found["top1"]["std"]}
    assert read_json(folder / "metrics.json") == {"top1": shown}, "one number of each arm, and its spread"
    first, second = found["top1"]["seeds"].values()
    told = read_json(folder / "evaluated" / "1.json")
    assert told["sha256"] == sha256_file(folder / "seeds" / "1" / "weights.safetensors")
    assert told["code"] == git_commit() and told["metrics"]["top1"] == second
    assert found["top1"]["mean"] == pytest.approx((first + second) / 2, abs=1e-3)
    assert found["top1"]["std"] == pytest.approx(abs(first - second) / 2**0.5, abs=1e-3)
    arms.train_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    assert (folder / "metrics.json").exists(), "nothing was trained"
    (folder / "seeds" / "1" / "weights.safetensors").unlink()
    arms.train_arm("ghostnet", "tiny", "ghost", seed=1, runs=tmp_path)
    assert not (folder / "metrics.json").exists(), "what was measured of other weights is gone"


def test_a_run_of_several_processes_has_one_of_its_own_for_each_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = QUICK.model_copy(update={"trainer": QUICK.trainer.model_copy(update={"devices": 2})})
    monkeypatch.setattr(arms, "protocol_with", lambda *_: two)
    started: list[list[str]] = []
    begin = subprocess.Popen

    def fail(words: list[str], **_: object) -> subprocess.Popen[bytes]:
        started.append(words[1:])
        return begin([sys.executable, "-c", f"raise SystemExit({len(started) - 1})"])

    monkeypatch.setattr(arms.subprocess, "Popen", fail)
    with pytest.raises(PapertrailError, match="tiny ghost --seed 1: it failed"):
        arms.train_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    made = ["-m", "shared.training", "train", "papers/ghostnet", "tiny", "ghost"]
    assert started == [[*made, "--seed", seed, "--runs", str(tmp_path)] for seed in ("0", "1")]


def test_what_ends_an_arm_ends_the_process_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    begin = subprocess.Popen

    def wait(words: list[str], **_: object) -> subprocess.Popen[bytes]:
        started.append(begin([sys.executable, "-c", "import time; time.sleep(60)"]))
        monkeypatch.setattr(started[0], "wait", interrupt)
        return started[0]

    def interrupt() -> int:
        monkeypatch.undo()
        raise SystemExit(143)

    monkeypatch.setattr(arms.subprocess, "Popen", wait)
    with pytest.raises(SystemExit):
        arms._in_its_own_process("ghostnet", "tiny", "ghost", 0, tmp_path)
    assert started[0].returncode == -signal.SIGTERM
