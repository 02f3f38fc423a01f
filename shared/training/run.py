"""Runs: one arm of a protocol with one seed, trained so that it can be killed at any moment and resumed, and kept.

A run's folder holds `plan.json` (what is to be trained, and at which commit training began), `resume.ckpt` (while it
lasts), and at the end `weights.safetensors` and `run.json`. A run is resumed, and a finished one kept, only under an
equal plan; the plan holds a digest of the code. What else lies in the folder is left alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import platform
import time
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from shared import datasets
from shared.builders import build
from shared.errors import PapertrailError
from shared.files import ROOT, git_commit, lock_hash, read_json, sha256_file, write_json
from shared.training.plan import CONTINUED, planned
from shared.training.protocol import Arm, Protocol
from shared.training.recipe import Recipe
from shared.training.resume import FILE
from shared.training.tasks import Task, task_of
from shared.weights.storage import fill, load_weights, save_weights

FILES = ("plan.json", FILE, "weights.safetensors", "run.json")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        model: the network.
        curves: one row for each epoch.
        epochs: how many were trained.
        device: what computed.
        changes: of its builder's arguments, where pruning or a method made another network of it.
        measured: metrics that only the run itself can tell.
    """

    model: nn.Module
    curves: list[dict[str, float]]
    epochs: int
    device: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    measured: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """One arm with one seed; each task has its own way to `fit`."""

    paper: str
    protocol_name: str
    protocol: Protocol
    arm_name: str
    seed: int

    @property
    def arm(self) -> Arm:
        """The network of this run."""
        return self.protocol.arms[self.arm_name]

    @property
    def spec(self) -> datasets.DatasetSpec:
        """The data set of this run."""
        return datasets.spec(self.protocol.data)

    @property
    def recipe(self) -> Recipe:
        """The recipe as it is carried out."""
        return self.protocol.recipe_of(self.arm_name)

    @property
    def task(self) -> Task:
        """What is trained."""
        return task_of(self.protocol.recipe)

    @property
    def begins(self) -> dict[str, Any] | None:
        """The arm that this run continues, or the published network that it begins with, and the hash of its weights;
        None when it begins with a builder alone."""
        return None

    @property
    def args(self) -> dict[str, Any]:
        """The builder's arguments of the network that training begins with."""
        return dict(self.arm.args)

    def network(self, args: dict[str, Any]) -> nn.Module:
        """What the builder at the start of the chain makes of these arguments."""
        builder = self.protocol.origin(self.arm_name).builder
        return build(self.paper, builder, dict(args), self.spec.classes, self.spec.shape[0])

    def build(self) -> nn.Module:
        """The network that training begins with, initialised from the seed."""
        torch.manual_seed(self.seed)
        return self.network(self.args)

    def plan(self) -> dict[str, Any]:
        """Everything that decides the result."""
        return planned(self.paper, self.protocol_name, self.protocol, self.arm_name, self.seed, self.begins)

    def fit(self, folder: Path) -> Outcome:
        """Train, going on with what an interrupted run left in `folder`."""
        raise NotImplementedError

    def two_steps(self) -> None:
        """Two steps, where the arm is trained, and an evaluation on stand-in data of the real shape; writes nothing."""
        raise NotImplementedError

    def evaluate(self, network: nn.Module, folder: Path) -> dict[str, float]:
        """The metrics of the finished network on the test split; `folder` is the arm's, for what a task keeps."""
        metrics = self.task.measure(network, self.recipe, self.protocol.data)
        return metrics if self.recipe.method is None else metrics | self.recipe.method.metrics(network)

    def __str__(self) -> str:
        return f"papers/{self.paper} {self.protocol_name} {self.arm_name} --seed {self.seed}"


def run_of(paper: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path | None = None) -> Run:
    """The run of an arm, by its task, or by what it continues; `runs` is where the paper's runs are kept."""
    if not protocol.arms[arm].continues:
        return task_of(protocol.recipe).run(paper, name, protocol, arm, seed)
    return importlib.import_module(CONTINUED).continued(paper, name, protocol, arm, seed, runs or runs_of(paper))


def runs_of(paper: str) -> Path:
    """Where a paper's runs are kept."""
    return ROOT / "papers" / paper / "runs"


def train_run(run: Run, folder: Path) -> bool:
    """Train one run in `folder`, or go on with it; a finished run of an equal plan is kept.

    Returns:
        Whether anything was trained.

    Raises:
        PapertrailError: the folder is in use by another process, or the GPU's memory is too small; or see `fit` of the
            task's run.
    """
    if is_finished(run, folder) and not _outdated(folder):
        (folder / FILE).unlink(missing_ok=True)  # it may have been killed just before it did so itself
        print(f"{folder}: already trained under this plan", flush=True)
        return False
    if rank():  # a further DDP process: rank 0 holds the lock and writes the files
        run.fit(folder)
        return True
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder):
            _prepare(run, folder)
            started = time.time()
            outcome = run.fit(folder)
            _write_result(run, folder, outcome, time.time() - started)
    except Timeout as error:
        raise PapertrailError(f"{folder}: another process is training here; wait until it ends") from error
    except torch.OutOfMemoryError as error:
        raise PapertrailError(f"{run}: {str(error).partition('.')[0]}; lower recipe.batch_size") from error
    return True


def finished(run: Run, folder: Path) -> tuple[dict[str, Any], nn.Module]:
    """The record and the network of a finished run; PapertrailError when it is not finished under its plan of now."""
    if not is_finished(run, folder):
        command = f"`papertrail {run.protocol.action(run.arm_name)} {str(run).removeprefix('papers/')}`"
        raise PapertrailError(f"{folder}: no finished run of what params.yaml and the code say now; {command} makes it")
    record = read_json(folder / "run.json")
    network = run.network(record["args"])
    weights = folder / "weights.safetensors"
    fill(network, load_weights(weights, record["sha256"]), weights)
    return record, network


def is_planned(run: Run, folder: Path) -> bool:
    """Whether what the folder holds was made, or is being made, under this very plan."""
    plan = folder / "plan.json"
    return plan.exists() and read_json(plan).get("plan") == run.plan()


def is_finished(run: Run, folder: Path) -> bool:
    """Whether the folder holds the undamaged result of this very plan."""
    record, weights = folder / "run.json", folder / "weights.safetensors"
    if not (is_planned(run, folder) and record.exists() and weights.exists()):
        return False
    return sha256_file(weights) == read_json(record)["sha256"]


def lock(folder: Path) -> FileLock:
    """Held by whoever works in a run's folder; Timeout at once when another does."""
    return FileLock(folder.parent.parent / f".seed{folder.name}.lock", timeout=0)


def rank() -> int:
    """The number of this process among those that share the run, also before a Trainer exists."""
    return getattr(rank_zero_only, "rank", 0)


def device_name(device: torch.device) -> str:
    """What computes, as a record names it: runs are equal to the bit on one kind of processor alone."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    """The processor's name where the system tells it, otherwise its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _outdated(folder: Path) -> bool:
    """Whether it was begun from sources that no commit held, and those of now are committed: then it can be pinned."""
    return read_json(folder / "plan.json")["code"].endswith("-dirty") and not git_commit().endswith(
        ("-dirty", "unknown")
    )


def _prepare(run: Run, folder: Path) -> None:
    """Clear away what was begun otherwise than it would be now; say what is to be trained, at which commit."""
    for name in FILES:
        for half in folder.glob(f".{name}.*"):  # of a process that was killed while it wrote
            half.unlink()
    if not is_planned(run, folder) or _outdated(folder):
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        write_json(folder / "plan.json", {"plan": run.plan(), "code": git_commit(), "environment": lock_hash()})


def _write_result(run: Run, folder: Path, outcome: Outcome, seconds: float) -> None:
    weights = folder / "weights.safetensors"
    save_weights(weights, outcome.model.state_dict())
    begun = read_json(folder / "plan.json")  # as it was at the start: sources may have changed since
    record = begun | {
        "args": run.args | outcome.changes,
        "epochs": outcome.epochs,
        "measured": outcome.measured,
        "sha256": sha256_file(weights),
        "torch": torch.__version__,
        "device": outcome.device,
        "seconds": round(seconds, 1),
        "curves": outcome.curves,
    }
    write_json(folder / "run.json", record)
    (folder / FILE).unlink(missing_ok=True)
    print(f"{folder}: {outcome.epochs} epochs, {seconds:.0f} s", flush=True)
