"""The runs of this machine beside the pinned ones. They decide no verdict and change no generated text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.checkpoints.evaluated import Evaluated, read_evaluated
from shared.checkpoints.records import RERUN_TOLERANCE, unlike
from shared.files import read_json
from shared.training.protocol import Protocol, load_protocols
from shared.weights.card import headline, home
from shared.weights.load import run_folder
from shared.weights.records import ArmRecord, protocols_recorded, read_records


def local_lines(slug: str) -> list[str]:
    """A line for each arm that was run and evaluated here and is pinned: how the two agree; a line for each seed that
    differs.

    PapertrailError when what evaluating left is damaged.
    """
    protocols = load_protocols(home(slug) / "params.yaml")
    lines = []
    for name in protocols_recorded(slug):
        records = read_records(slug, name)
        assert records is not None
        for arm, record in records.arms.items():
            if name in protocols and arm in protocols[name].arms:
                folders = {seed: run_folder(slug, name, arm, int(seed)) for seed in record.seeds}
                found = _compared(protocols[name], record, dict(_runs(folders)))
                lines += [f"{name}/{arm}: {line}" for line in found]
    return lines


def _runs(folders: dict[str, Path]) -> Iterator[tuple[str, tuple[dict[str, Any], Evaluated]]]:
    """Of each seed that was run here the plan and what evaluating its weights gave."""
    for seed, folder in folders.items():
        if (folder / "run.json").exists():
            run = read_json(folder / "run.json")
            evaluated = read_evaluated(folder, run["sha256"])
            if evaluated is not None:
                yield seed, (run["plan"], evaluated)


def _compared(protocol: Protocol, record: ArmRecord, runs: dict[str, tuple[dict[str, Any], Evaluated]]) -> list[str]:
    if not runs:
        return []
    difference = _unlike(record.plan, record, protocol)
    if difference is not None:
        return [f"not compared: the record was made under another plan ({difference})"]
    lines, differences = [], []
    metric = headline(next(iter(record.seeds.values())).metrics)
    for seed, (plan, ours) in runs.items():
        theirs, difference = record.seeds[seed], _unlike(plan, record, protocol)
        if difference is not None:
            lines.append(f"seed {seed} not compared: the run here was made under another plan ({difference})")
        elif metric not in ours.metrics or metric not in theirs.metrics:
            lines.append(f"seed {seed} not compared: no {metric} on both sides; `papertrail evaluate` measures it anew")
        else:
            mine, other = ours.metrics[metric], theirs.metrics[metric]
            differences.append(abs(mine - other))
            if differences[-1] > RERUN_TOLERANCE:
                lines.append(f"seed {seed} differs ({metric}: ours {mine:.2f}, theirs {other:.2f})")
    if lines:
        return lines
    if all(ours.sha256 == record.seeds[seed].sha256 for seed, (_, ours) in runs.items()):
        return ["agrees to the bit"]
    return [f"agrees (largest difference {max(differences):.2f} points of {metric}, tolerance {RERUN_TOLERANCE:g})"]


def _unlike(plan: dict[str, Any], record: ArmRecord, protocol: Protocol) -> str | None:
    """Where the part of a plan that records hold is not what params.yaml states now."""
    known = record.plan
    made = {key: value for key, value in plan.items() if key in known}
    return unlike(made, known["paper"], known["protocol"], protocol, known["arm"])
