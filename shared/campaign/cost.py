"""What runs cost on this machine: measured (pace.py), kept in the campaign's folder, and not measured twice."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from shared import datasets
from shared.campaign.pace import END, ROUND
from shared.checkpoints.gathered import runs_in
from shared.errors import PapertrailError
from shared.files import ROOT, read_json, write_json
from shared.training.jobs import Job
from shared.training.plan import stated
from shared.training.protocol import Protocol, load_protocol
from shared.training.resume import FILE, kept
from shared.training.run import device_name
from shared.weights.load import run_folder

COUNTS = (1, 2, 4)  # of processes at once
WORTH = 1.1  # times the steps a second, or more processes do not pay
GUESS = 5000.0  # images a second, as long as nothing is measured; what is guessed is measured before it is begun


@dataclass(frozen=True)
class Cost:
    """What a run of an arm takes when it has the machine for itself.

    Attributes:
        plan: SHA-256 of what params.yaml states of the arm.
        images: that are trained on in all.
        start: seconds from the start of its process to its first step.
        step: seconds.
        end: seconds of an epoch beside its steps: the pass over the test split, the file that a run goes on from.
        steps: of an epoch.
        epochs: of the run.
    """

    plan: str
    images: int
    start: float
    step: float
    end: float
    steps: int
    epochs: int

    def seconds(self, done: int = 0, slower: float = 1.0) -> float:
        """Of what is left of a run after `done` epochs; and of evaluating it, which takes about the end of an epoch."""
        return self.start + slower * ((self.epochs - done) * (self.steps * self.step + self.end) + self.end)


class Costs:
    """What is known of this machine.

    Args:
        out: the folder of the campaign.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.file = out / "costs.json"
        gpu = torch.cuda.is_available()
        self.machine = f"{device_name(torch.device('cuda' if gpu else 'cpu'))}, PyTorch {torch.__version__}"
        known = read_json(self.file) if self.file.exists() else {}
        mine = known.get("machine") == self.machine
        self.rates: dict[int, float] = {int(count): rate for count, rate in known["rates"].items()} if mine else {}
        self.arms: dict[str, Cost] = {arm: Cost(**cost) for arm, cost in known["arms"].items()} if mine else {}
        self.most = COUNTS[-1] if gpu else max(1, (os.cpu_count() or 1) // torch.get_num_threads())

    @property
    def count(self) -> int:
        """As many processes at once as pay."""
        best = 1
        for count, rate in sorted(self.rates.items()):
            best = count if rate >= WORTH * self.rates[best] else best
        return best

    @property
    def slower(self) -> float:
        """How many times as long a step takes when so many train at once."""
        return self.count * self.rates[1] / self.rates[self.count] if self.rates else 1.0

    def of(self, job: Job) -> Cost | None:
        """What was measured of the arm, or of the one that a pruning takes something from; None where nothing was."""
        protocol = _protocol(job.paper, job.protocol)
        arm = trained(protocol, job.arm)
        cost = self.arms.get(f"{job.paper}/{job.protocol}/{arm}")
        return cost if cost is not None and cost.plan == _digest(job.paper, job.protocol, protocol, arm) else None

    def seconds(self, job: Job) -> float:
        """Of what is left of a job; guessed from its images where nothing was measured."""
        cost = self.of(job)
        if cost is None:
            rate = statistics.median([one.images / one.seconds() for one in self.arms.values()] or [GUESS])
            return _images(_protocol(job.paper, job.protocol), job.arm) / rate
        if job.action == "prune":
            return cost.seconds(cost.epochs)
        resume = run_folder(job.paper, job.protocol, job.arm, job.seed, runs_in(self.out, job.paper)) / FILE
        done = _epochs(resume, resume.stat().st_mtime_ns) if resume.exists() else 0
        return cost.seconds(min(done, cost.epochs), self.slower)

    def measure(self, slug: str, name: str, jobs: Sequence[Job], until: float) -> None:
        """Measure the arms of jobs of one protocol, and with the first of all how many processes pay.

        PapertrailError when one cannot be trained, or `until` (of the monotonic clock) has come; those before it are
        measured.
        """
        protocol, began = _protocol(slug, name), time.monotonic()
        arms = list(dict.fromkeys(trained(protocol, job.arm) for job in jobs if self.of(job) is None))
        print(f"papers/{slug} {name}: how fast {', '.join(arms)} train", file=sys.stderr)
        with contextlib.ExitStack() as open_:
            open_.callback(self._write)
            counts = () if self.rates else tuple(count for count in COUNTS if count <= self.most)
            first = open_.enter_context(Probe(slug, name, arms, until))
            more = range(max(counts, default=1) - 1)
            others = [open_.enter_context(Probe(slug, name, arms[:1], until)) for _ in more]
            start: float | None = None
            for arm in arms:
                length = first.hear()
                start = start or time.monotonic() - began
                if counts:
                    self.rates, counts = _together([first, *(one for one in others if one.is_warm())], counts), ()
                    for other in others:
                        other.end()
                step = 1 / _asked([first])
                first.say(END)
                self.arms[f"{slug}/{name}/{arm}"] = Cost(
                    plan=_digest(slug, name, protocol, arm),
                    images=_images(protocol, arm),
                    start=start,
                    step=step,
                    end=first.hear()["seconds"],
                    steps=length["steps"],
                    epochs=length["epochs"],
                )

    def _write(self) -> None:
        arms = {arm: dataclasses.asdict(cost) for arm, cost in self.arms.items()}
        write_json(self.file, {"machine": self.machine, "rates": self.rates, "arms": arms})


class Probe:
    """A process that answers how fast arms train until the time is up; see pace.py."""

    def __init__(self, slug: str, name: str, arms: Sequence[str], until: float) -> None:
        self.what = f"papers/{slug} {name}"
        words = [sys.executable, "-m", "shared.campaign", "pace", f"papers/{slug}", name, *arms]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.clock = threading.Timer(max(0.0, until - time.monotonic()), self.process.terminate)
        self.clock.start()

    def __enter__(self) -> Probe:
        return self

    def __exit__(self, *what: object) -> None:
        self.end()

    def hear(self) -> dict[str, Any]:
        """The next answer; waits for it. PapertrailError when there comes none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PapertrailError(f"{self.what}: how fast it trains could not be measured; its message stands above")
        found: dict[str, Any] = json.loads(line)
        return found

    def is_warm(self) -> bool:
        """Whether it has come so far; another one beside it may have left it no memory."""
        with contextlib.suppress(PapertrailError):
            return bool(self.hear())
        return False

    def say(self, word: str) -> None:
        """Ask. PapertrailError when nobody hears it."""
        assert self.process.stdin is not None
        try:
            print(word, file=self.process.stdin, flush=True)
        except BrokenPipeError as error:
            raise PapertrailError(f"{self.what}: its process is gone; its message stands above") from error

    def end(self) -> None:
        """Wherever it is."""
        self.clock.cancel()
        self.process.terminate()  # one that has ended takes no signal
        self.process.communicate()


def trained(protocol: Protocol, arm: str) -> str:
    """The arm; or, of one that prunes, the one before it that was trained."""
    return next(one for one in reversed(protocol.lineage(arm)) if protocol.arms[one].prune is None)


def _together(probes: Sequence[Probe], counts: Sequence[int]) -> dict[int, float]:
    """Steps a second of so many at once, all of them together; no more are tried than pay."""
    rates: dict[int, float] = {}
    for count in counts:
        if count > len(probes):
            break
        rates[count] = _asked(probes[:count])
        if count > 1 and rates[count] < WORTH * max(rate for other, rate in rates.items() if other < count):
            break
    return rates


def _asked(probes: Sequence[Probe]) -> float:
    """Steps a second of a round, of all of them together."""
    for probe in probes:
        probe.say(ROUND)
    rounds = [probe.hear() for probe in probes]
    return sum(one["steps"] / one["seconds"] for one in rounds)


def _images(protocol: Protocol, arm: str) -> int:
    """How many images a training sees, as the recipe states it; none are seen where an arm prunes."""
    if protocol.arms[arm].prune is not None:
        return 0
    recipe, count = protocol.recipe_of(arm), datasets.spec(protocol.data).counts["train"]
    return recipe.length(-(-count // recipe.batch_size)) * recipe.batch_size


def _digest(slug: str, name: str, protocol: Protocol, arm: str) -> str:
    return hashlib.sha256(json.dumps(stated(slug, name, protocol, arm), sort_keys=True).encode()).hexdigest()


@functools.cache
def _epochs(resume: Path, _written: int) -> int:
    """How many are behind an interrupted run."""
    return int(kept(resume)["epoch"]) + 1


@functools.cache
def _protocol(slug: str, name: str) -> Protocol:
    return load_protocol(ROOT / "papers" / slug / "params.yaml", name)
