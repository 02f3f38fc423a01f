"""Arms: every seed of one trained or pruned, then evaluated, and summed up.

An arm's folder, papers/<slug>/runs/<protocol>/<arm>, holds `seeds/<N>/` (see run.py) and `curves.csv`, which training
writes, and `metrics.json`, which evaluating writes: mean, standard deviation (n - 1) and the value of each seed.
"""

from __future__ import annotations

import csv
import importlib
import io
import os
import shutil
import statistics
from pathlib import Path
from typing import Any

from shared.files import read_json, write_json, write_text
from shared.training.plan import CONTINUED
from shared.training.protocol import protocol_with
from shared.training.run import finished, rank, run_of, runs_of, train_run

# Lightning's DDP starts the further processes of a run with this very command line; this tells them which seed it is.
LAUNCHED_FOR = "PAPERTRAIL_RUN_SEED"

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
    if LAUNCHED_FOR in os.environ and rank():
        seeds = [int(os.environ[LAUNCHED_FOR])]
    for one in seeds:
        os.environ[LAUNCHED_FOR] = str(one)
        if train_run(run_of(paper, name, protocol, arm, one, runs), folder / "seeds" / str(one)) and not rank():
            (folder / "metrics.json").unlink(missing_ok=True)  # of other weights
    if seed is not None or rank():
        return
    for stale in (folder / "seeds").iterdir():
        if stale.is_dir() and stale.name not in map(str, seeds):
            shutil.rmtree(stale)
    _write_curves(folder, seeds)


def evaluate_arm(paper: str, name: str, arm: str, *, seed: int | None = None, runs: Path | None = None) -> Summary:
    """Measure an arm's weights on the test split and write metrics.json; with `seed` measure that one and write none.

    PapertrailError when a seed is not trained under what params.yaml and the code say now.
    """
    protocol, runs = protocol_with(paper, name, arm), runs or runs_of(paper)
    folder = runs / name / arm
    values: dict[str, dict[str, float]] = {}
    for one in protocol.seeds if seed is None else [seed]:
        run = run_of(paper, name, protocol, arm, one, runs)
        record, network = finished(run, folder / "seeds" / str(one))
        metrics = run.evaluate(network, folder) | record["measured"]
        print(f"papers/{paper} {name} {arm}, seed {one}: {run.task.tell(metrics)}", flush=True)
        for metric, value in metrics.items():
            values.setdefault(metric, {})[str(one)] = value
    summary = {metric: _summed_up(seeds) for metric, seeds in values.items()}
    if seed is None:
        write_json(folder / "metrics.json", summary)
    return summary


def fast_check(paper: str, name: str, arm: str) -> None:
    """Two steps and one evaluation of an arm's recipe on stand-in data of the real shape; writes nothing."""
    protocol = protocol_with(paper, name, arm)
    if protocol.arms[arm].of is None:
        run = run_of(paper, name, protocol, arm, protocol.seed)
    else:
        run = importlib.import_module(CONTINUED).untrained(paper, name, protocol, arm)
    run.two_steps()
    print(f"papers/{paper} {name} {arm}: two steps and an evaluation on stand-in data went through", flush=True)


def _summed_up(values: dict[str, float]) -> dict[str, Any]:
    spread = statistics.stdev(values.values()) if len(values) > 1 else None
    return {
        "mean": round(statistics.fmean(values.values()), 4),
        "std": None if spread is None else round(spread, 4),
        "seeds": values,
    }


def _write_curves(folder: Path, seeds: list[int]) -> None:
    records = {seed: read_json(folder / "seeds" / str(seed) / "run.json") for seed in seeds}
    rows = [{"seed": seed, **row} for seed, record in records.items() for row in record["curves"]]
    if rows:  # where nothing was trained there are none
        text = io.StringIO()
        table = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text(folder / "curves.csv", text.getvalue())
