"""What pinned runs found: the results of an arm, seed by seed. A run that nobody pinned decides nothing."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from shared.checkpoints.records import broken, unlike
from shared.errors import PapertrailError, nearest
from shared.training.protocol import Protocol
from shared.weights.records import read_records, records_file


@dataclass(frozen=True)
class ArmResult:
    """A metric of one arm, by seed."""

    values: dict[int, float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """Over the seeds (n - 1); None for a single one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


def arm_result(slug: str, name: str, protocol: Protocol, arm: str, metric: str = "top1") -> ArmResult | None:
    """What the pinned runs of an arm found with the seeds of its protocol; None where no run of it is pinned.

    Args:
        slug: of the paper.
        name: of the protocol.
        protocol: what params.yaml states under that name.
        arm: of the protocol.
        metric: of those that the evaluation gave.

    Raises:
        PapertrailError: the plan of the record is not what params.yaml states, a stated seed is missing or a pinned one
            not stated (a choice of seeds after the fact), an ancestor ended with other weights than the arm began with,
            or there is no such metric.
    """
    records = read_records(slug, name)
    if records is None or arm not in records.arms:
        return None
    record, where = records.arms[arm], f"{records_file(slug, name)}: `{arm}`"
    difference = unlike(record.plan, slug, name, protocol, arm)
    if difference is not None:
        raise PapertrailError(f"{where}: its plan is not what params.yaml states: {difference}; train and pin it again")
    further = sorted(record.seeds.keys() - set(map(str, protocol.seeds)))
    if further:
        raise PapertrailError(f"{where}: seed {', '.join(further)} is pinned too, which params.yaml does not state")
    values: dict[int, float] = {}
    for seed in protocol.seeds:
        fault = broken(records, protocol, arm, seed)
        if fault is not None:
            raise PapertrailError(f"{where}: {fault}; pin what is missing, or train and pin the arm again")
        found = record.seeds[str(seed)].metrics
        if metric not in found:
            raise PapertrailError(f"{where}: no metric `{metric}`; {nearest(metric, found)}")
        values[seed] = found[metric]
    return ArmResult(values)
