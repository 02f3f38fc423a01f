"""Arms: every seed of one trained or pruned, then evaluated, and summed up.

An arm's folder, papers/<slug>/runs/<protocol>/<arm>, holds `seeds/<N>/` (see run.py) and `curves.csv`, which training
writes, and `metrics.json`, which evaluating writes for DVC's tables: of the headline metric the mean and the standard
deviation (n - 1). All that was measured of a seed, of which weights and at which commit, stands in
`evaluated/<N>.json`; git keeps it out.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import Timeout

from shared.errors import PapertrailError
from shared.files import git_commit, read_json, write_json, write_text
from shared.training.plan import CONTINUED, command, starts
from shared.training.protocol import protocol_with
from shared.training.run import finished, lock, rank, run_of, runs_of, train_run
from shared.weights.card import headline
from shared.weights.load import run_folder

# Set in a process that makes one run of several processes: Lightning starts the others with its very command line.
ONE_RUN = "PAPERTRAIL_ONE_RUN"

Summary = dict[str, dict[str, Any]]


def train_arm(paper: str, name: str, arm: str, *, seed: int | None = None, runs: Path | None = None) -> None:
    """Train (or prune) one arm with every seed of its protocol and write its curves, or with `seed` alone.

    Args:
        paper: the slug.
        name: of a protocol in papers/<slug>/params.yaml.
        arm: of that protocol.
        seed: this one alone, and no curves: a share of the work of one machine among several.
        runs: where runs are kept; papers/<slug>/runs when not given.
    """
    protocol, runs = protocol_with(paper, name, arm), runs or runs_of(paper)
    folder = runs / name / arm
    seeds = list(protocol.seeds) if seed is None else [seed]
    shared_out = protocol.trainer.devices * protocol.trainer.nodes > 1 and protocol.action(arm) == "train"
    for one in seeds:
        if shared_out and ONE_RUN not in os.environ:
            _in_its_own_process(paper, name, arm, one, runs)
            continue
        run = run_of(paper, name, protocol, arm, one, runs)
        if train_run(run, run_folder(paper, name, arm, one, runs)) and not rank():
            (folder / "metrics.json").unlink(missing_ok=True)  # of other weights
    if seed is None and not rank():
        conclude(folder, seeds)


def conclude(folder: Path, seeds: Sequence[int]) -> None:
    """Write the curves of an arm, all of whose seeds are made, and remove seeds that its protocol has no more."""
    for found in (folder / "seeds").iterdir():
        # What else lies there is not ours.
        if found.is_dir() and found.name.isdecimal() and int(found.name) not in seeds:
            _remove(found)
    _write_curves(folder, seeds)


def evaluate_arm(paper: str, name: str, arm: str, *, seed: int | None = None, runs: Path | None = None) -> Summary:
    """Measure an arm's weights on the test split and write metrics.json; with `seed` only what is that one's own.

    Returns:
        By metric the mean and the standard deviation over the seeds, and the value of each seed.

    Raises:
        PapertrailError: a seed is not trained under what params.yaml and the code say now.
    """
    from shared.closure import digest  # late, as in plan.py

    protocol, runs = protocol_with(paper, name, arm), runs or runs_of(paper)
    folder = runs / name / arm
    values: dict[str, dict[str, float]] = {}
    for one in protocol.seeds if seed is None else [seed]:
        run = run_of(paper, name, protocol, arm, one, runs)
        own = run_folder(paper, name, arm, one, runs)
        record, network = finished(run, own)
        metrics = run.evaluate(network, folder) | record["measured"]
        made_by = {"code": git_commit(), "sources_digest": digest(starts(paper, protocol, arm, "evaluate"))}
        write_json(folder / "evaluated" / f"{one}.json", {"sha256": record["sha256"], **made_by, "metrics": metrics})
        print(f"papers/{paper} {name} {arm}, seed {one}: {run.task.tell(metrics)}", flush=True)
        for metric, value in metrics.items():
            values.setdefault(metric, {})[str(one)] = value
    summary = {metric: _summed_up(seeds) for metric, seeds in values.items()}
    if seed is None:
        metric = headline(summary)
        write_json(folder / "metrics.json", {metric: {key: summary[metric][key] for key in ("mean", "std")}})
    return summary


def fast_check(paper: str, name: str, arm: str) -> None:
    """Two steps, or the pruning of an untrained network, and one evaluation on stand-in data of the real shape.

    It writes nothing, and says in one line what went through.
    """
    protocol = protocol_with(paper, name, arm)
    if not protocol.arms[arm].continues:
        run = run_of(paper, name, protocol, arm, protocol.seed)
    else:
        run = importlib.import_module(CONTINUED).untrained(paper, name, protocol, arm)
    run.two_steps()
    done = "two steps" if protocol.action(arm) == "train" else "pruning"
    print(f"papers/{paper} {name} {arm}: {done} and an evaluation on stand-in data went through", flush=True)


def _in_its_own_process(paper: str, name: str, arm: str, seed: int, runs: Path) -> None:
    words = command("train", paper, name, arm, seed, runs.resolve())
    process = subprocess.Popen([sys.executable, *words], env=os.environ | {ONE_RUN: "1"})
    try:
        status = process.wait()
    finally:
        process.terminate()  # where this process is ended; one that has ended takes no signal
        process.wait()
    if status:
        raise PapertrailError(f"papers/{paper} {name} {arm} --seed {seed}: it failed; its message stands above")


def _remove(stale: Path) -> None:
    """A seed that the protocol has no more; left alone while a process trains it."""
    with contextlib.suppress(Timeout), lock(stale):
        print(f"{stale}: not a seed of this protocol any more; removed", flush=True)
        shutil.rmtree(stale)


def _summed_up(values: dict[str, float]) -> dict[str, Any]:
    spread = statistics.stdev(values.values()) if len(values) > 1 else None
    return {
        "mean": round(statistics.fmean(values.values()), 4),
        "std": None if spread is None else round(spread, 4),
        "seeds": values,
    }


def _write_curves(folder: Path, seeds: Sequence[int]) -> None:
    records = {seed: read_json(folder / "seeds" / str(seed) / "run.json") for seed in seeds}
    rows = [{"seed": seed, **row} for seed, record in records.items() for row in record["curves"]]
    if rows:  # where nothing was trained there are none
        text = io.StringIO()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        table = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(folder / "curves.csv", text.getvalue())
