"""The runs of this machine beside the pinned ones. They decide no verdict and change no generated text."""

from __future__ import annotations

from typing import Any

from shared.checkpoints.records import unlike
from shared.errors import PapertrailError
from shared.files import read_json
from shared.training.protocol import Protocol, load_protocols
from shared.weights.card import headline, home
from shared.weights.load import run_folder
from shared.weights.records import ArmRecord, protocols_recorded, read_records

# Percentage points. On the same kind of processor a run is equal to the bit; on another it parts from the record after
# some steps and ends as another seed might: up to a point that says nothing about the code, and more is to be seen.
METRIC_TOLERANCE = 1.0


def local_lines(slug: str) -> list[str]:
    """A line for each arm that was run here and is pinned: how the two agree; a line for each seed that differs."""
    protocols = load_protocols(home(slug) / "params.yaml")
    lines = []
    for name in protocols_recorded(slug):
        records = read_records(slug, name)
        assert records is not None
        for arm, record in records.arms.items():
            file = home(slug) / "runs" / name / arm / "metrics.json"
            if file.exists() and name in protocols and arm in protocols[name].arms:
                found = _compared(slug, name, protocols[name], arm, record, read_json(file))
                lines += [f"{name}/{arm}: {line}" for line in found]
    return lines


def _compared(slug: str, name: str, protocol: Protocol, arm: str, record: ArmRecord, metrics: Any) -> list[str]:
    difference = unlike(record.plan, slug, name, protocol, arm)
    if difference is not None:
        return [f"not compared: the record was made under another plan ({difference})"]
    metric = headline(metrics)
    try:
        ours = {str(int(seed)): float(value) for seed, value in metrics[metric]["seeds"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PapertrailError(
            f"{home(slug)}/runs/{name}/{arm}/metrics.json: no seeds of `{metric}`; `papertrail evaluate {slug} {name} "
            f"{arm}` writes it anew"
        ) from error
    both = {seed: (value, record.seeds[seed].metrics[metric]) for seed, value in ours.items() if seed in record.seeds}
    differ = [
        f"seed {seed} differs ({metric}: ours {mine:.2f}, theirs {theirs:.2f})"
        for seed, (mine, theirs) in both.items()
        if abs(mine - theirs) > METRIC_TOLERANCE
    ]
    if differ or not both:
        return differ or ["not compared: no seed of it is pinned"]
    largest = max(abs(mine - theirs) for mine, theirs in both.values())
    if all(_same_weights(slug, name, arm, seed, record) for seed in both):
        return ["agrees to the bit"]
    return [f"agrees (largest difference {largest:.2f} points of {metric}, tolerance {METRIC_TOLERANCE:g})"]


def _same_weights(slug: str, name: str, arm: str, seed: str, record: ArmRecord) -> bool:
    run = run_folder(slug, name, arm, int(seed)) / "run.json"
    return run.exists() and read_json(run)["sha256"] == record.seeds[seed].sha256
