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

from shared.checkpoints.evaluate import evaluate
from shared.errors import PapertrailError
from shared.files import read_json, sha256_file
from shared.training.run import fast_check, train_run
from shared.training.task import DivergedError

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
    assert record["metrics"]["top1"] > 30, "ten classes: chance is 10 %"
    assert record["metrics"]["top1"] == record["curves"][-1]["test_top1"], "the last epoch is the result"


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
    assert ours["curves"] == theirs["curves"] and ours["metrics"] == theirs["metrics"]


def test_two_processes_share_a_run(uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "seeds" / "0"
    train_in_a_process(folder, "2")
    record = read_json(folder / "run.json")
    assert record["trainer"]["devices"] == 2
    assert [row["step"] for row in record["curves"]] == [
        row["step"] for row in read_json(uninterrupted / "run.json")["curves"]
    ], "two processes with half a batch each make the same steps as one"
    assert record["metrics"]["top1"] > 30


def test_a_finished_run_is_kept_and_another_plan_starts_anew(uninterrupted: Path) -> None:
    before = (uninterrupted / "run.json").stat().st_mtime_ns
    train_in_a_process(uninterrupted)
    assert (uninterrupted / "run.json").stat().st_mtime_ns == before
    weights = uninterrupted / "weights.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    train_in_a_process(uninterrupted)
    assert weights.read_bytes() == good, "a damaged result is trained again"


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
    assert record["curves"][0]["step"] == 40 and record["recipe"]["steps"] == 45


def test_an_unknown_protocol_arm_or_paper_ends_with_usage_status() -> None:
    command = [sys.executable, "-m", "shared.training", "papers/ghostnet", "mini", "no-such-arm"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2 and "no arm `no-such-arm`" in ended.stderr and "Traceback" not in ended.stderr


def test_fast_runs_two_steps_and_writes_nothing() -> None:
    before = json.dumps(sorted(str(p) for p in Path("papers/ghostnet").rglob("runs/**/*")))
    fast_check("ghostnet", "mini", "ghost-vgg16-s2")
    assert json.dumps(sorted(str(p) for p in Path("papers/ghostnet").rglob("runs/**/*"))) == before


def test_soft_filters_are_zero_at_the_end_and_only_they(tmp_path: Path) -> None:
    train_run(run(tiny(epochs=2, soft_filters=0.3, ema_decay=None)), tmp_path / "seeds" / "0")
    state = load_file(tmp_path / "seeds/0/weights.safetensors")
    filters = {name: value.flatten(1) for name, value in state.items() if value.dim() == 4}
    assert {name: int((value == 0).all(1).sum()) for name, value in filters.items()} == {
        name: int(0.3 * len(value)) for name, value in filters.items()
    }
    record = read_json(tmp_path / "seeds/0/run.json")
    found = evaluate("ghostnet", record["model"], record["args"], tmp_path / "seeds/0/weights.safetensors", "mnist5k")
    assert record["metrics"]["top1"] == found["top1"], "the result is that of the weights as they are kept"
