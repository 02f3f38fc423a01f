"""What a record is held to: the plan that params.yaml states, and the weights that its ancestors ended with."""

from __future__ import annotations

from typing import Any

from shared.training.plan import reads, stated
from shared.training.protocol import Protocol
from shared.training.recipe import completed
from shared.weights.given import given
from shared.weights.records import ArmRecord, Records, SeedRecord, identity, read_records

# Percentage points. On the same kind of processor a run is equal to the bit; on another it parts from the record after
# some steps and ends as another seed might: up to a point that says nothing about the code, and more is to be seen.
RERUN_TOLERANCE = 1.0
ABSENT = "nothing"  # a key that a plan does not have; None is a value


def unlike(plan: dict[str, Any], paper: str, name: str, protocol: Protocol, arm: str) -> str | None:
    """Where the plan of a record is not what params.yaml states of the arm; None where they are equal.

    Keys of a recipe that are younger than the record have their defaults.
    """
    now = stated(paper, name, protocol, arm)
    lineage = [link["arm"] for link in plan["chain"]]
    if lineage != protocol.lineage(arm):
        return f"`of`: its arms are {' - '.join(lineage)}, params.yaml states {' - '.join(protocol.lineage(arm))}"
    return _difference(_completed(plan, protocol), now, "")


def broken(records: Records, protocol: Protocol, arm: str, seed: int) -> str | None:
    """What a run began with, or read, that is not what is pinned now; None where the whole chain holds."""
    record = records.arms.get(arm)
    run = None if record is None else record.seeds.get(str(seed))
    if record is None or run is None:
        return f"seed {seed} of `{arm}` is not pinned"
    read = reads(protocol, arm)
    if {*read} != {*run.reads}:
        made, now = (", ".join(refs) or "no pinned weights" for refs in (run.reads, read))
        return f"seed {seed} of `{arm}` read {made}, params.yaml states {now}"
    for ref, sha256 in run.reads.items():
        if identity(ref).sha256 != sha256:
            return f"seed {seed} of `{arm}` read other weights of {ref} than are pinned now"
    start, begin = protocol.arms[arm].start, protocol.arms[arm].begin
    if start != (run.start and run.start.arm):
        return f"seed {seed} of `{arm}` goes on from {run.start and run.start.arm}, params.yaml states {start}"
    if start is None or run.start is None:
        return None
    if begin is not None:
        another = given(begin).sha256 != run.start.sha256
        return f"seed {seed} of `{arm}` began with another file than is published as {begin}" if another else None
    fault = broken(records, protocol, start, seed)
    if fault is None and records.arms[start].seeds[str(seed)].sha256 != run.start.sha256:
        return f"seed {seed} of `{arm}` goes on from other weights of `{start}` than are pinned now"
    return fault


def recorded(slug: str, name: str, protocol: Protocol, arm: str, seed: int) -> bool:
    """Whether a run is pinned under what params.yaml states, with all that it continues."""
    records = read_records(slug, name)
    if records is None or arm not in records.arms or unlike(records.arms[arm].plan, slug, name, protocol, arm):
        return False
    return broken(records, protocol, arm, seed) is None


def with_runs(records: Records, arm: str, plan: dict[str, Any], runs: dict[int, SeedRecord]) -> Records:
    """The records and further runs of an arm, in the place of what had their seeds."""
    before = records.arms[arm].seeds if arm in records.arms else {}
    added = ArmRecord(plan=plan, seeds=before | {str(seed): run for seed, run in runs.items()})
    return records.model_copy(update={"arms": records.arms | {arm: added}})


def _completed(plan: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    return plan | {"chain": [_completed_link(link, protocol) for link in plan["chain"]]}


def _completed_link(link: dict[str, Any], protocol: Protocol) -> dict[str, Any]:
    arm = protocol.arms[link["arm"]]
    recipe, prune = link["recipe"], link["prune"]
    if recipe is not None:
        recipe = completed(recipe, protocol.recipe_of(link["arm"]))
    if prune is not None and arm.prune is not None:
        prune = completed(prune, arm.prune)
    return link | {"recipe": recipe, "prune": prune}


def _difference(made: Any, now: Any, key: str) -> str | None:
    """The first key in which two values differ, with both."""
    if made == now:
        return None
    if isinstance(made, dict) and isinstance(now, dict):
        pairs = [(name, made.get(name, ABSENT), now.get(name, ABSENT)) for name in now | made]
    elif isinstance(made, list) and isinstance(now, list) and len(made) == len(now):
        pairs = [(one["arm"] if isinstance(one, dict) else place, one, two)
                 for place, (one, two) in enumerate(zip(made, now, strict=True))]  # fmt: skip
    else:
        return f"`{key}` is {made}, params.yaml states {now}"
    found = (_difference(one, two, f"{key}.{name}" if key else str(name)) for name, one, two in pairs)
    return next(filter(None, found))
