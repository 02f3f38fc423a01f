"""Runs: one arm of a protocol, trained with every seed, resumable after a kill at any moment.

A run's folder holds `plan.json` (what is to be trained, written first), `resume.ckpt` (while it lasts), and at the end
`weights.safetensors` and `run.json`. A run is resumed only under an equal plan; the plan holds a digest of the code.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import os
import platform
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import Callback, EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from shared import datasets
from shared.builders import build
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT, git_commit, lock_hash, read_json, sha256_file, write_json, write_text
from shared.training.callbacks import Curves, SoftFilters
from shared.training.recipe import Arm, Protocol, Recipe, classification, input_shape, load_protocol
from shared.training.standin import stand_in
from shared.training.task import ClassificationTask
from shared.weights.card import headline
from shared.weights.storage import save_weights

FAST_STEPS = 2
# Lightning's DDP starts the further processes of a run with this very command line; this tells them which seed it is.
LAUNCHED_FOR = "PAPERTRAIL_RUN_SEED"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What training gave: the network, the metrics (percent, or a loss), one row of curves for each epoch."""

    model: nn.Module
    metrics: dict[str, float]
    curves: list[dict[str, float]]
    epochs: int
    device: str
    args: dict[str, Any] | None = None  # of the network, where training or pruning decided them


@dataclasses.dataclass(frozen=True)
class Run:
    """One arm with one seed."""

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
        return classification(self.protocol.recipe_of(self.arm_name))

    def build(self) -> nn.Module:
        """The network, initialised from the seed; UsageError when the arm continues another."""
        if self.arm.of is not None:
            raise UsageError(f"`{self.arm_name}` continues `{self.arm.of}`: `python -m shared.compression` runs it")
        torch.manual_seed(self.seed)
        return build(self.paper, self.arm.builder, dict(self.arm.args), self.spec.classes, self.spec.shape[0])

    def plan(self) -> dict[str, Any]:
        """Everything that decides the result: an equal plan gives equal weights on an equal machine."""
        return {
            "paper": self.paper,
            "protocol": self.protocol_name,
            "arm": self.arm_name,
            "model": self.arm.builder,
            "args": dict(self.arm.args),
            "classes": self.spec.classes,
            "input": list(input_shape(self.protocol)),
            "data": self.protocol.data,
            "data_hash": self.spec.fingerprint,
            "seed": self.seed,
            "recipe": self.protocol.recipe_of(self.arm_name).model_dump(mode="json"),
            "trainer": self.protocol.trainer.model_dump(mode="json"),
            "sources_digest": _sources_digest(self.paper, self.protocol.module(self.arm_name)),
        }

    def fit(self, folder: Path) -> Outcome:
        """Train, going on with what an interrupted run left in `folder`, and evaluate the last weights.

        DivergedError when the loss is not finite.
        """
        recipe, hardware = self.recipe, self.protocol.trainer
        data = datasets.datamodule(
            self.protocol.data,
            batch_size=recipe.batch_size,
            augment=recipe.augment,
            seed=self.seed,
            workers=hardware.workers,
        )
        data.setup()
        task = ClassificationTask(
            self.build(),
            recipe,
            classes=self.spec.classes,
            seed=self.seed,
            steps_per_epoch=len(data.train_dataloader()),
            channels_last=hardware.channels_last,
        )
        curves = Curves()
        callbacks: list[Callback] = [
            curves,
            *_averaging(recipe),
            *([] if recipe.soft_filters is None else [SoftFilters(recipe.soft_filters)]),
            ModelCheckpoint(folder, "resume", save_on_train_epoch_end=True, enable_version_counter=False),
        ]
        interactive = os.isatty(2)
        if interactive:
            callbacks.append(TQDMProgressBar(refresh_rate=20))
        on_gpu = hardware.accelerator == "gpu" or (hardware.accelerator == "auto" and torch.cuda.is_available())
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=hardware.devices,
            num_nodes=hardware.nodes,
            strategy=hardware.strategy,
            precision=hardware.precision,
            max_epochs=recipe.epochs if recipe.epochs is not None else -1,
            max_steps=recipe.steps if recipe.steps is not None else -1,
            callbacks=callbacks,
            logger=False,
            deterministic=not on_gpu,  # bit-equal on a CPU; on a GPU only equal in distribution
            benchmark=on_gpu,
            enable_progress_bar=interactive,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # the data modules share each epoch out themselves
            reload_dataloaders_every_n_epochs=1,  # the order of an epoch is a function of (seed, epoch)
        )
        # Deterministic algorithms fill fresh memory to show who reads it uninitialised: 5 % of a step, and no one does.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        resume = folder / "resume.ckpt"
        resumable = resume.exists() and _planned(
            self, folder
        )  # asked by every rank: rank 0 may be clearing up just now
        trainer.fit(task, data, ckpt_path=resume if resumable else None, weights_only=True)
        if trainer.interrupted:
            raise KeyboardInterrupt
        trainer.validate(task, data, verbose=False)  # the last weights, also when `steps` ended within an epoch
        return Outcome(
            task.model,
            task.test_metrics(),  # every rank takes part in the sum
            curves.rows,
            len(curves.rows),
            device_name(trainer.strategy.root_device),
        )


def train_arm(
    paper: str,
    protocol_name: str,
    arm_name: str,
    *,
    seed: int | None = None,
    runs: Path | None = None,
    kind: Callable[[str, str, Protocol, str, int], Run] = Run,
) -> dict[str, Any]:
    """Train one arm with every seed of its protocol (or with `seed` alone) and sum its metrics up.

    Args:
        paper: the slug.
        protocol_name: a protocol of papers/<slug>/params.yaml.
        arm_name: an arm of that protocol.
        seed: train only this seed and write no summary: a share of the work of one machine among several.
        runs: where runs are kept; papers/<slug>/runs when not given.
        kind: what trains: a classifier's run, a detector's, or one that continues another.

    Returns:
        Per metric the mean, the standard deviation (n - 1) and the value of each seed.
    """
    protocol = protocol_with(paper, protocol_name, arm_name)
    folder = (runs or ROOT / "papers" / paper / "runs") / protocol_name / arm_name
    seeds = protocol.seeds if seed is None else [seed]
    if LAUNCHED_FOR in os.environ and _rank():
        seeds = [int(os.environ[LAUNCHED_FOR])]
    for one in seeds:
        os.environ[LAUNCHED_FOR] = str(one)
        train_run(kind(paper, protocol_name, protocol, arm_name, one), folder / "seeds" / str(one))
    if seed is not None or _rank():
        return {}
    for stale in (folder / "seeds").iterdir():
        if stale.name not in map(str, seeds):
            shutil.rmtree(stale)
    return _summarise(folder, seeds)


def train_run(run: Run, folder: Path) -> None:
    """Train one run in `folder`, or go on with it; a finished run of an equal plan is kept.

    Raises:
        PapertrailError: the folder is in use by another process, or cannot be written.
        DivergedError: the loss is not finite.
    """
    if _finished(run, folder):
        print(f"{folder}: already trained under this plan", flush=True)
        return
    if _rank():  # a further DDP process: rank 0 holds the lock and writes the files
        run.fit(folder)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent.parent / f".seed{folder.name}.lock", timeout=0):
            _prepare(run, folder)
            started = time.time()
            outcome = run.fit(folder)
            _write_result(run, folder, outcome, time.time() - started)
    except Timeout as error:
        raise PapertrailError(f"{folder}: another process is training here; wait until it ends") from error
    except PermissionError as error:
        raise PapertrailError(f"{folder}: cannot be written ({error.strerror})") from error


def fast_check(paper: str, protocol_name: str, arm_name: str) -> None:
    """Two training steps and one evaluation of the recipe on stand-in data of the real shape; writes nothing."""
    protocol = protocol_with(paper, protocol_name, arm_name)
    two_steps(Run(paper, protocol_name, protocol, arm_name, protocol.seed))


def two_steps(run: Run) -> None:
    """What `fast_check` does with a run."""
    protocol, recipe, spec = run.protocol, run.recipe, run.spec
    task = ClassificationTask(
        run.build(),
        recipe,
        classes=spec.classes,
        seed=run.seed,
        steps_per_epoch=FAST_STEPS,
        channels_last=protocol.trainer.channels_last,
    )
    seen = dataclasses.replace(spec, shape=input_shape(protocol))
    data = stand_in(seen, recipe.augment, steps=FAST_STEPS, seed=run.seed)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        callbacks=_averaging(recipe),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(task, data)
    if trainer.global_step != FAST_STEPS:
        raise PapertrailError(
            f"papers/{run.paper}: {run.protocol_name}/{run.arm_name} made {trainer.global_step} steps of {FAST_STEPS}"
        )


def protocol_with(paper: str, protocol_name: str, arm_name: str) -> Protocol:
    """The protocol; UsageError lists what there is when it, or the arm, does not exist."""
    path = ROOT / "papers" / paper / "params.yaml"
    protocol = load_protocol(path, protocol_name)
    if arm_name not in protocol.arms:
        raise UsageError(f"{path}: `{protocol_name}` has no arm `{arm_name}`; it has {', '.join(protocol.arms)}")
    return protocol


def _rank() -> int:
    """The number of this process among those that share the run, also before a Trainer exists."""
    return getattr(rank_zero_only, "rank", 0)


def _planned(run: Run, folder: Path) -> bool:
    """Whether what the folder holds was made, or is being made, under this very plan."""
    plan = folder / "plan.json"
    return plan.exists() and read_json(plan) == run.plan()


def _finished(run: Run, folder: Path) -> bool:
    record, weights = folder / "run.json", folder / "weights.safetensors"
    if not (_planned(run, folder) and record.exists() and weights.exists()):
        return False
    return sha256_file(weights) == read_json(record)["sha256"]


def _prepare(run: Run, folder: Path) -> None:
    """Clear away what another plan, or a damaged run, left."""
    if not _planned(run, folder):
        for stale in folder.iterdir():
            stale.unlink()
        write_json(folder / "plan.json", run.plan())


def device_name(device: torch.device) -> str:
    """What computes, as a record names it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads"


def _averaging(recipe: Recipe) -> list[Callback]:
    decay = recipe.ema_decay
    return [] if decay is None else [EMAWeightAveraging(decay=decay)]


def _write_result(run: Run, folder: Path, outcome: Outcome, seconds: float) -> None:
    weights = folder / "weights.safetensors"
    save_weights(weights, outcome.model.state_dict())
    record = read_json(folder / "plan.json") | {  # as it was at the start: sources may have changed since
        "epochs": outcome.epochs,
        "metrics": outcome.metrics,
        "sha256": sha256_file(weights),
        "code": git_commit(),
        "environment": lock_hash(),
        "torch": torch.__version__,
        "device": outcome.device,
        "seconds": round(seconds, 1),
        "curves": outcome.curves,
    }
    if outcome.args is not None:
        record["args"] = outcome.args
    write_json(folder / "run.json", record)
    (folder / "resume.ckpt").unlink(missing_ok=True)
    print(f"{folder}: {headline(outcome.metrics)} after {outcome.epochs} epochs, {seconds:.0f} s", flush=True)


def _summarise(folder: Path, seeds: range | list[int]) -> dict[str, Any]:
    """Write metrics.json (mean, spread and every seed) and curves.csv of an arm."""
    records = {str(seed): read_json(folder / "seeds" / str(seed) / "run.json") for seed in seeds}
    summary = {}
    for metric in next(iter(records.values()))["metrics"]:
        values = {seed: record["metrics"][metric] for seed, record in records.items()}
        spread = statistics.stdev(values.values()) if len(values) > 1 else None
        summary[metric] = {
            "mean": round(statistics.fmean(values.values()), 4),
            "std": None if spread is None else round(spread, 4),
            "seeds": values,
        }
    rows = [{"seed": seed, **row} for seed, record in records.items() for row in record["curves"]]
    if rows:  # where nothing was trained there are none
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(folder / "curves.csv", text.getvalue())
    write_json(folder / "metrics.json", summary)
    return summary


def _sources_digest(paper: str, module: str) -> str:
    """A digest of the sources that can change a run: the core's and this paper's Python files."""
    digest = hashlib.sha256()
    further = [] if module == "training" else [module]
    for part in ("datasets", "layers", "baselines", "training", *further):
        for file in sorted((ROOT / "shared" / part).rglob("*.py")):
            digest.update(file.read_bytes())
    for file in sorted((ROOT / "papers" / paper).glob("*.py")):
        if file.name != "figures.py":
            digest.update(file.read_bytes())
    return digest.hexdigest()
