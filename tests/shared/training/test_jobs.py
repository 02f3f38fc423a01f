"""Runs side by side: as from one after the other, whatever one of them does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shared.errors import UsageError
from shared.files import read_json
from shared.training import arms, jobs
from shared.training.jobs import Job, jobs_of, side_by_side
from shared.training.protocol import Arm

from .protocols import tiny

CHAIN = tiny(epochs=1, batch_size=500).model_copy(
    update={
        "repeats": 2,
        "arms": {
            "ghost": Arm(builder="ghost_vgg16", args={"width": 0.0625, "s": 2, "d": 3}),
            "tuned": Arm(of="ghost"),
            "again": Arm(builder="ghost_vgg16", args={"width": 0.0625, "s": 2, "d": 3}),
        },
    }
)


def told(action: str, paper: str, name: str, arm: str, seed: int, runs: Path) -> list[str]:
    """Notes when it begins and ends, and fails as `again 1`."""
    script = (
        "import sys, time; from pathlib import Path; notes, what = Path(sys.argv[1]) / 'notes', sys.argv[2]\n"
        "notes.open('a').write(f'begin {what}\\n'); print('at work', flush=True); time.sleep(0.5)\n"
        "notes.open('a').write(f'end {what}\\n')\n"
        "sys.exit('no more disk' if what == 'again 1' else 0)"
    )
    return ["-c", script, str(runs), f"{arm} {seed}"]


def test_each_job_comes_after_what_it_continues_and_a_failure_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = jobs_of("ghostnet", "tiny", CHAIN, ["again", "ghost", "tuned"])
    assert [(job.arm, job.seed, job.action, job.continues) for job in work][-1] == ("tuned", 1, "train", "ghost")
    follows = Job("ghostnet", "tiny", "last", 1, "prune", "again")
    monkeypatch.setattr(jobs, "command", told)
    undone = side_by_side([*work, follows], 2, lambda _: tmp_path)
    assert {str(job): why for job, why in undone.items()} == {
        "papers/ghostnet tiny again --seed 1": "it failed, its message stands above",
        "papers/ghostnet tiny last --seed 1": "not begun, it continues `again`",
    }
    notes = (tmp_path / "notes").read_text().splitlines()
    assert len(notes) == 2 * len(work)
    at_once, most = set(), 0
    for note in notes:
        word, arm, seed = note.split()
        if word == "end":
            at_once.remove((arm, seed))
            continue
        at_once.add((arm, seed))
        most = max(most, len(at_once))
        assert arm != "tuned" or f"end ghost {seed}" in notes[: notes.index(note)]
    assert most == 2
    out = capsys.readouterr().out
    assert "again 1: no more disk\n" in out and out.count("tuned 0: at work\n") == 1


def test_what_ends_it_ends_every_process(tmp_path: Path) -> None:
    """As Ctrl-C does, which reaches all of them, and a signal that reaches this one alone."""
    script = f"""
import sys
from pathlib import Path
from shared.errors import exit_status
from shared.training import jobs
sleep = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); " \\
    "print('begun', flush=True); time.sleep(60)"
jobs.command = lambda *_: ["-c", sleep]
work = [jobs.Job("a", "b", "c", seed, "train") for seed in range(3)]
sys.exit(exit_status(lambda: jobs.side_by_side(work, 2, lambda _: Path({str(tmp_path)!r}))))
"""
    for ending in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        begun = sorted(process.stdout.readline() for _ in range(2))
        assert begun == ["c 0: begun\n", "c 1: begun\n"]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        process.send_signal(ending)
        started = time.monotonic()
        assert process.wait(30) == 128 + ending and time.monotonic() - started < 20
        assert not any(Path(f"/proc/{child}").exists() for child in children)


@pytest.fixture
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that know the protocol of this test."""
    monkeypatch.setattr(arms, "protocol_with", lambda *_: CHAIN)
    script = (
        "import sys; from pathlib import Path\n"
        "from shared.errors import exit_status; from shared.training import arms\n"
        "from tests.shared.training.test_jobs import CHAIN\n"
        "arms.protocol_with = lambda *_: CHAIN; arm, seed, runs = sys.argv[1:]\n"
        "sys.exit(exit_status(lambda: arms.train_arm('ghostnet', 'tiny', arm, seed=int(seed), runs=Path(runs))))"
    )
    monkeypatch.setattr(
        jobs, "command", lambda action, paper, name, arm, seed, runs: ["-c", script, arm, str(seed), str(runs)]
    )


def results(runs: Path) -> dict[str, Any]:
    found = {str(path.relative_to(runs)): read_json(path) for path in sorted(runs.rglob("run.json"))}
    kept = ("sha256", "curves", "args", "device")
    return {name: {key: record[key] for key in kept} for name, record in found.items()}


def test_side_by_side_gives_what_one_after_the_other_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_itself: None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    arms.train_arm("ghostnet", "tiny", "ghost", runs=tmp_path / "one")
    assert jobs.make("ghostnet", "tiny", CHAIN, ["ghost"], 2, runs=tmp_path / "two") == {}
    assert len(results(tmp_path / "one")) == 2 and results(tmp_path / "one") == results(tmp_path / "two")
    one, two = ((tmp_path / place / "tiny" / "ghost" / "curves.csv").read_text() for place in ("one", "two"))
    assert one == two


def test_a_run_of_several_processes_is_none_of_several_runs() -> None:
    two = CHAIN.model_copy(update={"trainer": CHAIN.trainer.model_copy(update={"devices": 2})})
    with pytest.raises(UsageError, match="--jobs: one run of this protocol takes several processes"):
        jobs.make("ghostnet", "tiny", two, ["ghost"], 2)


def test_at_the_time_that_is_given_every_process_is_ended(tmp_path: Path) -> None:
    """The last job is begun first, since it is asked for; what runs and what waits is not done."""
    work = [Job("a", "b", arm, 0, "train") for arm in ("slow", "slower", "quick")]
    seconds = {"slow": "60", "slower": "60", "quick": "0"}
    sleep = "import sys, time; print('at work', flush=True); time.sleep(float(sys.argv[1]))"
    began = time.monotonic()
    undone = side_by_side(
        work,
        1,
        lambda _: tmp_path,
        words=lambda job, runs: ["-c", sleep, seconds[job.arm]],
        first=lambda ready: ready[-1],
        until=began + 10,
    )
    assert undone == dict.fromkeys([work[1], work[0]], "the time was up") and time.monotonic() - began < 40
