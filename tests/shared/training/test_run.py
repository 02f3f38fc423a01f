"""Runs survive what happens to runs: a kill, a second process, a damaged file, a loss that is not a number."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from pydantic import PrivateAttr
from safetensors.torch import load_file
from torch import nn

from shared.errors import PapertrailError, UsageError
from shared.files import read_json, sha256_file, write_json
from shared.training import run as runs
from shared.training.__main__ import main
from shared.training.arms import fast_check
from shared.training.classifier import DivergedError
from shared.training.method import Method
from shared.training.run import finished, is_finished, train_run

from .protocols import Linear, run, tiny

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


class Remembering(Method):
    """Pulls the weights towards where they were, which it remembers from step to step, and halves them in the end."""

    name: str = "remembering"
    _before: list[torch.Tensor] = PrivateAttr(default_factory=list)

    def attach(self, network: nn.Module) -> None:
        self._before = [parameter.detach().clone() for parameter in network.parameters()]

    @torch.no_grad()
    def after_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        for parameter, before in zip(network.parameters(), self._before, strict=True):
            before.lerp_(parameter, 0.1)
            parameter.lerp_(before, 0.1)

    @torch.no_grad()
    def finish(self, network: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        for parameter in network.parameters():
            parameter /= 2
        return network, {"halved": True}

    def state(self) -> dict[str, Any]:
        return {"before": self._before}

    def load_state(self, state: dict[str, Any]) -> None:
        self._before = state["before"]


@pytest.mark.parametrize(
    "recipe",
    [
        {"epochs": 2, "ema_decay": 0.9, "method": Remembering()},
        {"epochs": None, "steps": 11, "ema_decay": 0.9},
        {"epochs": 2, "accumulate": 3, "ema_decay": None, "method": Remembering()},
    ],
    ids=["averaged", "ended within an epoch", "accumulated"],
)
def test_a_kill_between_any_two_writes_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: dict[str, Any]
) -> None:
    """The disk is all that a killed run leaves, and it changes when a file that is whole takes its name."""
    one, whole = Linear("ghostnet", "tiny", tiny(batch_size=500, **recipe), "ghost", 0), tmp_path / "seeds" / "0"
    written: list[str] = []
    replace = os.replace

    def counted(source: str, target: Path) -> None:
        replace(source, target)
        written.append(target.name)
        if len(written) == last:
            raise KeyboardInterrupt

    monkeypatch.setattr("shared.closure.digest", lambda starts: "of the code")
    monkeypatch.setattr(os, "replace", counted)
    last = 0
    train_run(one, whole)
    names = [*written]
    assert names == ["plan.json", "resume.ckpt", "resume.ckpt", "weights.safetensors", "run.json"]
    for last in range(1, len(names) + 1):
        folder = tmp_path / f"killed after {last}" / "seeds" / "0"
        written.clear()
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            train_run(one, folder)
        last = 0
        train_run(one, folder)
        assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "run.json", "weights.safetensors"]
        assert (folder / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
        ours, theirs = (
            {key: value for key, value in read_json(place / "run.json").items() if key != "seconds"}
            for place in (folder, whole)
        )
        assert ours == theirs


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", "truncated", "flipped"])
def test_a_damaged_file_to_go_on_from_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str
) -> None:
    one, folder = Linear("ghostnet", "tiny", tiny(batch_size=500, epochs=1), "ghost", 0), tmp_path / "seeds" / "0"
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(runs, "_write_result", lambda *_: 1 / 0)
        train_run(one, folder)
    resume = folder / "resume.ckpt"
    whole = resume.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "truncated": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    }
    resume.write_bytes(content if isinstance(content, bytes) else damaged[content])
    with pytest.raises(
        PapertrailError, match=r"seeds/0/resume\.ckpt: damaged \(.*\); delete it, and the run begins anew"
    ):
        train_run(one, folder)
    resume.unlink()
    assert train_run(one, folder)


def test_a_full_disk_ends_in_one_line_and_leaves_what_was_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, folder = Linear("ghostnet", "tiny", tiny(batch_size=500, epochs=2), "ghost", 0), tmp_path / "seeds" / "0"
    fsync, room = os.fsync, [2]

    def full(descriptor: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with (
        monkeypatch.context() as patch,
        pytest.raises(PapertrailError, match=r"resume\.ckpt: cannot be written \(No space"),
    ):
        patch.setattr(os, "fsync", full)
        train_run(one, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "resume.ckpt"]
    assert train_run(one, folder)


def test_what_others_leave_in_a_runs_folder_stays_and_half_files_go(tmp_path: Path) -> None:
    one, folder = Linear("ghostnet", "tiny", tiny(batch_size=500, epochs=1), "ghost", 0), tmp_path / "seeds" / "0"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    for name in (".DS_Store", "notes.txt", ".resume.ckpt.k2j4", "resume.ckpt", "plan.json"):
        (folder / name).write_text("{}")
    train_run(one, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        ".DS_Store", ".ipynb_checkpoints", "notes.txt", "plan.json", "run.json", "weights.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_as_killed(tmp_path: Path, ending: signal.Signals) -> None:
    folder = tmp_path / "seeds" / "0"
    process = subprocess.Popen([*DRIVER, str(folder)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (folder / "resume.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(ending)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 128 + ending and "Traceback" not in told
    assert sorted(path.name for path in folder.iterdir()) == ["plan.json", "resume.ckpt"]


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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train papers/network_slimming mini no-such-arm", "no arm `no-such-arm`"),
        (
            "train papers/network_slimming mini pruned-40",
            "`train`: papertrail prune network_slimming mini pruned-40",
        ),
        (
            "papers/adder_detection mini adder",
            "train, prune, evaluate; papertrail train adder_detection mini adder",
        ),
        ("train papers/adder_detection mini", "arguments are required: arm; see papertrail train --help"),
        ("evaluate papers/ghostnet mini vgg16 --fast", "unrecognized arguments: --fast; see papertrail train --help"),
        ("train papers/ghostnet mini vgg16 --seed one", "--seed: invalid int value: 'one'"),
        ("train papers/ghostnet mini vgg16 --seed 4294967296", "--seed 4294967296: seeds go from 0 to 4294967295"),
        ("evaluate papers/adder_detection mini adder --seed -1", "--seed -1: seeds go from 0 to 4294967295"),
        ("", "the following arguments are required: action"),
    ],
)
def test_wrong_usage_is_one_line_that_names_what_is_right(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["python -m shared.training", *words.split()])
    assert main() == 2
    told = capsys.readouterr().err
    assert message in told and told.startswith("papertrail: ") and told.count("\n") == 1


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"accelerator": "gpu"}, "trainer: No supported gpu backend found!"),
        (
            {"accelerator": "auto", "precision": "16-mixed"},
            r"trainer\.precision: 16-mixed needs a GPU, and none",
        ),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_hardware_that_is_not_here_is_named(tmp_path: Path, trainer: dict[str, Any], message: str) -> None:
    with pytest.raises(PapertrailError, match=message):
        run(tiny(trainer=trainer)).fit(tmp_path)


def test_fast_runs_two_steps_and_writes_nothing() -> None:
    before = json.dumps(sorted(str(p) for p in Path("papers/network_slimming").rglob("runs/**/*")))
    fast_check("network_slimming", "mini", "tuned-70")
    assert json.dumps(sorted(str(p) for p in Path("papers/network_slimming").rglob("runs/**/*"))) == before
