"""Runs survive what happens to runs: a kill, a second process, a damaged file, a loss that is not a number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.torch import load_file

from shared.errors import PapertrailError, UsageError
from shared.files import read_json, sha256_file, write_json
from shared.training import run as runs
from shared.training.arms import fast_check
from shared.training.classifier import DivergedError
from shared.training.run import finished, is_finished, train_run

from .protocols import run, tiny

DRIVER = [sys.executable, "-m", "tests.shared.training.protocols"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def train_in_a_process(folder: Path, *arguments: str) -> None:
    subprocess.run([*DRIVER, str(folder), *arguments], check=True, env=ENVIRONMENT, timeout=300)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "seeds" / "0"
    train_in_a_process(folder)
    return folder


def test_a_run_leaves_its_record_and_learns(uninterrupted: Path) -> None:
    record = read_json(uninterrupted / "run.json")
    assert sorted(p.name for p in uninterrupted.iterdir()) == ["plan.json", "run.json", "weights.safetensors"]
    assert record["sha256"] == sha256_file(uninterrupted / "weights.safetensors")
    assert [row["epoch"] for row in record["curves"]] == [1, 2, 3] and record["epochs"] == 3
    trained = run(tiny())
    metrics = trained.evaluate(finished(trained, uninterrupted)[1], uninterrupted)
    assert metrics["top1"] > 30, "ten classes: chance is 10 %"
    assert metrics["top1"] == record["curves"][-1]["test_top1"], "the averaged weights of the last epoch are the result"
    assert metrics["loss"] == pytest.approx(record["curves"][-1]["test_loss"], abs=1e-5)
    assert "metrics" not in record, "evaluating is a stage of its own"


def test_a_rerun_is_bit_equal(uninterrupted: Path, tmp_path: Path) -> None:
    train_in_a_process(tmp_path / "seeds" / "0")
    assert sha256_file(tmp_path / "seeds/0/weights.safetensors") == sha256_file(uninterrupted / "weights.safetensors")


@pytest.mark.parametrize("delay", [0.0, 0.7])
def test_killed_in_mid_epoch_and_resumed_it_ends_bit_equal(uninterrupted: Path, tmp_path: Path, delay: float) -> None:
    folder = tmp_path / "seeds" / "0"
    process = subprocess.Popen([*DRIVER, str(folder)], env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (folder / "resume.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not (folder / "run.json").exists()
    train_in_a_process(folder)
    assert sha256_file(folder / "weights.safetensors") == sha256_file(uninterrupted / "weights.safetensors")
    ours, theirs = read_json(folder / "run.json"), read_json(uninterrupted / "run.json")
    assert ours["curves"] == theirs["curves"]


def test_killed_after_the_last_epoch_it_keeps_the_averaged_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, again = tmp_path / "once" / "seeds" / "0", tmp_path / "again" / "seeds" / "0"
    short = run(tiny(epochs=1))
    train_run(short, once)
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_write_result", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train_run(short, again)
    assert (again / "resume.ckpt").exists()
    train_run(short, again)
    assert sha256_file(again / "weights.safetensors") == sha256_file(once / "weights.safetensors")


def test_a_termination_signal_ends_the_process_as_killed(tmp_path: Path) -> None:
    folder = tmp_path / "seeds" / "0"
    process = subprocess.Popen([*DRIVER, str(folder)], env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (folder / "resume.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM and not (folder / "run.json").exists()


def test_two_processes_share_a_run(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seeds" / "0"
    train_in_a_process(folder, "2")
    record = read_json(folder / "run.json")
    assert [row["step"] for row in record["curves"]] == [
        row["step"] for row in read_json(uninterrupted / "run.json")["curves"]
    ], "two processes with half a batch each make the same steps as one"
    assert record["curves"][-1]["test_top1"] > 30


def test_the_schedule_knows_how_many_processes_share_a_batch(tmp_path: Path) -> None:
    """4,000 images in batches of 1,999: a third batch of two images, which two processes cannot share."""
    folder = tmp_path / "seeds" / "0"
    train_in_a_process(folder, "2", "1999")
    curves = read_json(folder / "run.json")["curves"]
    assert [row["step"] for row in curves] == [2, 4, 6] and curves[-1]["lr"] == pytest.approx(0, abs=1e-9)


def test_a_batch_larger_than_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe\.batch_size: 4001 of 4000 training images"):
        train_run(run(tiny(batch_size=4001)), tmp_path / "seeds" / "0")


def test_a_finished_run_is_kept_and_another_plan_starts_anew(uninterrupted: Path) -> None:
    before = (uninterrupted / "run.json").stat().st_mtime_ns
    train_in_a_process(uninterrupted)
    assert (uninterrupted / "run.json").stat().st_mtime_ns == before
    weights = uninterrupted / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    train_in_a_process(uninterrupted)
    assert weights.read_bytes() == good, "a damaged result is trained again"
    plan = read_json(uninterrupted / "plan.json")
    for key, value, same in (("code", "another commit", True), ("plan", plan["plan"] | {"seed": 1}, False)):
        write_json(uninterrupted / "plan.json", plan | {key: value})
        assert is_finished(run(tiny()), uninterrupted) == same
    write_json(uninterrupted / "plan.json", plan)


def test_what_was_trained_before_it_was_committed_is_trained_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, before = "c" * 40, "c" * 40 + "-dirty"
    folder, short = tmp_path / "seeds" / "0", run(tiny(epochs=1))
    for commit, trained, kept in ((before, True, before), (before, False, before), (now, True, now), (now, False, now)):
        monkeypatch.setattr("shared.training.run.git_commit", lambda commit=commit: commit)
        assert train_run(short, folder) == trained and read_json(folder / "run.json")["code"] == kept


def test_the_weights_are_plain_tensors_of_the_averaged_network(uninterrupted: Path) -> None:
    state = load_file(uninterrupted / "weights.safetensors")
    assert state.keys() == run(tiny()).build().state_dict().keys()


def test_a_loss_that_is_not_a_number_stops_with_step_and_learning_rate(tmp_path: Path) -> None:
    protocol = tiny(optimiser={"name": "sgd", "lr": 1e30}, schedule={"name": "constant"}, ema_decay=None)
    with pytest.raises(DivergedError, match=r"at step \d+ \(epoch 0\) with learning rate 1e\+30"):
        train_run(run(protocol), tmp_path / "seeds" / "0")
    assert not (tmp_path / "seeds/0/run.json").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    with FileLock(tmp_path / ".seed0.lock"), pytest.raises(PapertrailError, match="another process is training here"):
        train_run(run(tiny()), tmp_path / "seeds" / "0")


def test_steps_give_the_length_too(tmp_path: Path) -> None:
    train_run(run(tiny(epochs=None, steps=45)), tmp_path / "seeds" / "0")  # type: ignore[arg-type]
    record = read_json(tmp_path / "seeds/0/run.json")
    assert [row["step"] for row in record["curves"]] == [40, 45]
    assert record["curves"][1]["test_loss"] != record["curves"][0]["test_loss"], "the last five steps are evaluated too"


def test_an_unknown_protocol_arm_or_paper_ends_with_usage_status() -> None:
    command = [sys.executable, "-m", "shared.training", "train", "papers/network_slimming", "mini", "no-such-arm"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2 and "no arm `no-such-arm`" in ended.stderr and "Traceback" not in ended.stderr


def test_an_arm_to_prune_is_not_trained() -> None:
    command = [sys.executable, "-m", "shared.training", "train", "papers/network_slimming", "mini", "pruned-40"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (
        ended.returncode == 2
        and "`pruned-40` is not for `train`: papertrail prune network_slimming mini pruned-40" in ended.stderr
    )


def test_fast_runs_two_steps_and_writes_nothing() -> None:
    before = json.dumps(sorted(str(p) for p in Path("papers/network_slimming").rglob("runs/**/*")))
    fast_check("network_slimming", "mini", "tuned-70")
    assert json.dumps(sorted(str(p) for p in Path("papers/network_slimming").rglob("runs/**/*"))) == before
