"""Making a record's run again: whether today's code still gives what is pinned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.errors import UsageError, nearest
from shared.files import read_json
from shared.paper import load_paper
from shared.training.arms import evaluate_arm, train_arm
from shared.training.command import quiet
from shared.training.protocol import Protocol
from shared.weights.records import ArmRecord, identity, protocols_recorded, read_records


def again(slug: str, name: str, protocol: Protocol, arm: str, seed: int, runs: Path) -> dict[str, Any]:
    """Run an arm in the folder `runs`, what it goes on from first; what run.json holds, and its `metrics`."""
    quiet()
    for one in protocol.lineage(arm):
        train_arm(slug, name, one, seed=seed, runs=runs)
    metrics = evaluate_arm(slug, name, arm, seed=seed, runs=runs)
    found = {metric: summary["seeds"][str(seed)] for metric, summary in metrics.items()}
    return read_json(runs / name / arm / "seeds" / str(seed) / "run.json") | {"metrics": found}


def recorded(ref: str) -> tuple[str, str, str, int, ArmRecord]:
    """Paper, protocol, arm, seed of "SLUG/PROTOCOL/ARM/SEED" or of a checkpoint "<slug>/<name>", and the arm's record.

    UsageError names the nearest when there is none.
    """
    parts = ref.split("/")
    if len(parts) == 2:
        known = identity(ref)
        parts = [known.paper, known.protocol, known.arm, str(known.seed)]
    if len(parts) != 4:
        raise UsageError(f"`{ref}`: give SLUG/PROTOCOL/ARM/SEED, or a checkpoint SLUG/NAME")
    slug, name, arm, seed = parts
    records = read_records(slug, name)
    if records is None or arm not in records.arms or seed not in records.arms[arm].seeds:
        raise UsageError(f"no record `{ref}`; {nearest(ref, _recorded(load_paper(slug).slug))}")
    return slug, name, arm, int(seed), records.arms[arm]


def _recorded(slug: str) -> Iterator[str]:
    for name in protocols_recorded(slug):
        records = read_records(slug, name)
        assert records is not None
        yield from (f"{slug}/{name}/{arm}/{seed}" for arm, record in records.arms.items() for seed in record.seeds)
