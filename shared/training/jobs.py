"""Runs side by side: processes that make one seed of an arm each, so many at once."""

from __future__ import annotations

import contextlib
import math
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import UsageError
from shared.training.arms import conclude
from shared.training.plan import Action, command
from shared.training.protocol import Protocol
from shared.training.run import runs_of

PATIENCE = 60  # seconds that a process which is to end may take for it

Words = Callable[["Job", Path], list[str]]


@dataclass(frozen=True)
class Job:
    """One arm of a protocol with one seed; `action` makes it, out of what `continues`, an arm, ended with."""

    paper: str
    protocol: str
    arm: str
    seed: int
    action: Action
    continues: str | None = None

    def follows(self, other: Job) -> bool:
        """Whether it continues that one."""
        mine, its = (self.paper, self.protocol, self.seed), (other.paper, other.protocol, other.seed)
        return mine == its and self.continues == other.arm

    def __str__(self) -> str:
        return f"papers/{self.paper} {self.protocol} {self.arm} --seed {self.seed}"


def make(
    paper: str,
    name: str,
    protocol: Protocol,
    arms: Sequence[str],
    count: int,
    *,
    seed: int | None = None,
    runs: Path | None = None,
) -> dict[Job, str]:
    """Train, or prune, arms of a protocol, `count` seeds of them at once (see `side_by_side`).

    Args:
        paper: the slug.
        name: of the protocol.
        protocol: that one.
        arms: of it, each after the one that it continues.
        count: of processes at once.
        seed: this one alone, without a summary.
        runs: where runs are kept; papers/<slug>/runs when not given.

    Returns:
        The jobs that are not done, and why. Of an arm with none of them the curves are written.

    Raises:
        UsageError: a run takes several processes by itself.
    """
    if protocol.trainer.devices * protocol.trainer.nodes > 1:
        raise UsageError("--jobs: one run of this protocol takes several processes (`trainer`); leave --jobs out")
    folder = runs or runs_of(paper)
    undone = side_by_side(jobs_of(paper, name, protocol, arms, seed), count, lambda _: folder)
    for arm in arms if seed is None else ():
        if all(job.arm != arm for job in undone):
            conclude(folder / name / arm, protocol.seeds)
    return undone


def jobs_of(paper: str, name: str, protocol: Protocol, arms: Iterable[str], seed: int | None = None) -> list[Job]:
    """The jobs that make arms of a protocol, with all of its seeds, or with one."""
    return [
        Job(paper, name, arm, one, protocol.action(arm), protocol.arms[arm].of)
        for arm in arms
        for one in (protocol.seeds if seed is None else [seed])
    ]


def made(job: Job, runs: Path) -> list[str]:
    """Arguments of Python that make what a job is to make."""
    return command(job.action, job.paper, job.protocol, job.arm, job.seed, runs.resolve())


def side_by_side(
    jobs: Sequence[Job],
    count: int,
    runs: Callable[[str], Path] = runs_of,
    *,
    words: Words = made,
    first: Callable[[Sequence[Job]], Job] = lambda ready: ready[0],
    until: float = math.inf,
) -> dict[Job, str]:
    """Do jobs in processes of their own, `count` at once, each after the one that it continues, if that is among them.

    Every process computes with as many threads as it would alone: on a CPU their number changes a result's last bits.
    What a process prints is printed as it comes, behind arm and seed. When one fails, those that do not need it go on.
    What ends this function, such as Ctrl-C, ends all processes, and waits for it: each leaves what it goes on from.

    Args:
        jobs: in the order in which they are begun.
        count: of processes at once.
        runs: where a paper's runs are kept, by its slug.
        words: arguments of Python that do a job, whose paper's runs are kept there.
        first: of the jobs that can be begun, in their order, the one that is to be next.
        until: when all processes are ended, by `time.monotonic`.

    Returns:
        The jobs that are not done, and why.
    """
    before = {job: next((one for one in jobs if job.follows(one)), None) for job in jobs}
    waiting, running = list(jobs), dict[Job, subprocess.Popen[str]]()
    undone: dict[Job, str] = {}
    ended: queue.SimpleQueue[Job] = queue.SimpleQueue()
    try:
        while waiting or running:
            ready = []
            for job in [*waiting]:
                if before[job] in undone:
                    undone[job] = f"not begun, it continues `{job.continues}`"
                    waiting.remove(job)
                elif before[job] not in waiting and before[job] not in running:
                    ready.append(job)
            while ready and len(running) < count:
                job = first(ready)
                ready.remove(job)
                waiting.remove(job)
                running[job] = _begin(job, words(job, runs(job.paper)), ended)
            if running:
                job = ended.get(timeout=_left(until))
                if running.pop(job).wait():
                    undone[job] = "it failed, its message stands above"
    except queue.Empty:
        undone |= dict.fromkeys([*running, *waiting], "the time was up")
    finally:
        _end(list(running.values()))
    return undone


def _left(until: float) -> float | None:
    """Seconds, none of them below 0; None without an end."""
    return None if until == math.inf else max(0.0, until - time.monotonic())


def _begin(job: Job, words: Sequence[str], ended: queue.SimpleQueue[Job]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )

    def tell() -> None:
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdout:  # where nobody reads any more, it ends too
            for line in process.stdout:
                print(f"{job.arm} {job.seed}: {line}", end="", flush=True)
        ended.put(job)

    threading.Thread(target=tell, daemon=True).start()
    return process


def _end(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.terminate()  # one that has ended takes no signal
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()  # nothing is lost: files take their names when they are whole
            process.wait()
