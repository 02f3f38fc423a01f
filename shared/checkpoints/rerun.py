"""Making a record's run again: whether today's code still gives what is pinned."""

from __future__ import annotations

import contextlib
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.checkpoints.check import Check, checked, require_data
from shared.checkpoints.records import RERUN_TOLERANCE, unlike
from shared.errors import DataError, PapertrailError, UsageError, nearest
from shared.files import read_json
from shared.paper import load_paper
from shared.training.arms import evaluate_arm, train_arm
from shared.training.command import quiet
from shared.training.protocol import Protocol, load_protocol
from shared.weights.card import headline, home
from shared.weights.records import ArmRecord, SeedRecord, identity, protocols_recorded, read_records


def rerun(ref: str) -> Iterator[Check]:
    """Make the run of a record again, "SLUG/PROTOCOL/ARM/SEED" or a checkpoint's, or every one of a paper's, "SLUG"."""
    for one in [ref] if "/" in ref else list(_recorded(load_paper(ref).slug)):
        slug, name, arm, seed, record = recorded(one)
        where = f"{slug}/{name}/{arm}/{seed}"
        yield checked(where, "rerun", lambda: _compared(slug, name, arm, seed, record))  # noqa: B023  (at once)


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


def _compared(slug: str, name: str, arm: str, seed: int, arm_record: ArmRecord) -> str:
    """What the run gives now, and how near that is; PapertrailError when it is another result."""
    record = arm_record.seeds[str(seed)]
    protocol = load_protocol(home(slug) / "params.yaml", name)
    difference = unlike(arm_record.plan, slug, name, protocol, arm) if arm in protocol.arms else "no such arm"
    if difference is not None:
        raise PapertrailError(f"params.yaml states another plan now: {difference}")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        try:
            found = again(slug, name, protocol, arm, seed, Path(folder))
        except DataError:
            require_data(protocol.data)
            raise
    if found["sha256"] == record.sha256:
        return f"the same weights to the bit ({found['device']})"
    if _one_processor(found, record):
        kind = f"{record.device} and PyTorch {record.torch}"
        raise PapertrailError(
            f"other weights on the record's own kind of processor ({kind}): the code gives another run now"
        )
    metric = headline(record.metrics)
    kinds = f"{found['device']}; the record's: {record.device}"
    other = f"other weights: another kind of processor ({kinds}), or other code"
    if metric not in found["metrics"]:
        raise PapertrailError(f"{other}; the evaluation gives no {metric} any more")
    ours, theirs = found["metrics"][metric], record.metrics[metric]
    detail = f"{other}; by metric: {metric} {ours:.2f}, the record says {theirs:.2f}"
    if not abs(ours - theirs) <= RERUN_TOLERANCE:
        raise PapertrailError(detail)
    return detail


def _one_processor(found: dict[str, Any], record: SeedRecord) -> bool:
    """Whether both runs had one kind of processor, by its name, and one PyTorch: then they are equal to the bit.

    A GPU adds in another order each time ("threads" tells it from a processor), and an architecture is no name.
    """
    name = record.device.partition(",")[0]
    named = "threads" in record.device and name not in (platform.machine(), platform.processor())
    return named and (found["device"], found["torch"]) == (record.device, record.torch)
