"""The plan of a run: what params.yaml decides of an arm, which a pinned record is held to, and what else decides it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from shared import datasets
from shared.training.protocol import Protocol, input_shape
from shared.training.pruning import PaperPrune
from shared.training.tasks import task_of
from shared.weights.records import identity

Action = Literal["train", "prune", "evaluate"]

COMMAND = "shared.training.__main__"
CONTINUED = "shared.compression.continued"  # the runs of arms that continue others
# Of `trainer` what changes numbers; the kind of machine does not. Each device normalises by its own part of a batch.
DECIDING = ("devices", "nodes", "precision", "channels_last")


def stated(paper: str, name: str, protocol: Protocol, arm: str) -> dict[str, Any]:
    """The plan of an arm, as JSON holds it, seeds and hashes of weights left out.

    `model` and `args` are those of the builder at the start of the chain; `chain` has each arm from there to this one:
    how it goes on from the one before, and the recipe that it is trained with (None where it only prunes).
    """
    origin, spec = protocol.origin(arm), datasets.spec(protocol.data)
    hardware = protocol.trainer.model_dump(mode="json")
    return {
        "paper": paper,
        "protocol": name,
        "arm": arm,
        "model": origin.builder,
        "args": dict(origin.args),
        "classes": spec.classes,
        "input": list(input_shape(protocol, arm)),
        "data": protocol.data,
        "data_hash": spec.fingerprint,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "trainer": {key: hardware[key] for key in DECIDING},
        "chain": [_link(protocol, one) for one in protocol.lineage(arm)],
    }


def planned(
    paper: str, name: str, protocol: Protocol, arm: str, seed: int, start: dict[str, Any] | None
) -> dict[str, Any]:
    """Everything that decides a run's result: an equal plan gives equal weights on an equal machine.

    `start` is the arm that it continues, or the published network that it begins with, and the hash of its weights;
    `reads` has the hash of the pinned weights that training reads, `sources_digest` is over the code.
    """
    from shared.closure import digest  # late: what only asks what is stated needs no import graph

    return stated(paper, name, protocol, arm) | {
        "seed": seed,
        "start": start,
        "reads": {ref: identity(ref).sha256 for ref in reads(protocol, arm)},
        "sources_digest": digest(starts(paper, protocol, arm, protocol.action(arm))),
    }


def reads(protocol: Protocol, arm: str) -> list[str]:
    """The pinned weights, "<slug>/<name>", that training an arm reads: a teacher's, and those its arguments name."""
    backbone = protocol.arms[arm].args.get("checkpoint")
    return [*protocol.recipe_of(arm).reads(), *([str(backbone)] if backbone else [])]


def starts(paper: str, protocol: Protocol, arm: str, action: Action) -> tuple[str, ...]:
    """The modules that the code of a stage starts from: those that are found by name, and what the command runs.

    A method or a rule of pruning is code of the arm alone; evaluating needs the method's metrics, but no pruning.
    """
    task, one = task_of(protocol.recipe), protocol.arms[arm]
    code = task.measures if action == "evaluate" else task.trains
    found = {COMMAND, type(protocol.recipe).__module__, datasets.module(protocol.data)}
    found |= {module.format(paper=paper) for module in code}
    if one.continues:
        found.add(CONTINUED)
    if one.begin is not None:
        found.add(f"papers.{one.begin.partition('/')[0]}.upstream")
    found |= {f"papers.{ref.partition('/')[0]}" for ref in reads(protocol, arm)}
    method = protocol.recipe_of(arm).method
    if method is not None:
        found.add(type(method).__module__)
    if isinstance(one.prune, PaperPrune) and action != "evaluate":
        found.add(type(one.prune).__module__)
    return tuple(sorted(found))


def command(action: Action, paper: str, name: str, arm: str, seed: int, runs: Path) -> list[str]:
    """Arguments of Python that do one seed of an arm in a process of its own; see shared/training/__main__.py."""
    return [
        *("-m", COMMAND.removesuffix(".__main__"), action, f"papers/{paper}", name, arm),
        *("--seed", str(seed), "--runs", str(runs)),
    ]


def _link(protocol: Protocol, name: str) -> dict[str, Any]:
    arm = protocol.arms[name]
    prune = None if arm.prune is None else arm.prune.model_dump(mode="json")
    recipe = None if prune is not None else protocol.recipe_of(name).model_dump(mode="json")
    begin = {} if arm.begin is None else {"begin": arm.begin}  # plans of before had none
    return {"arm": name, **begin, "prune": prune, "weights": arm.weights, "budget": arm.budget, "recipe": recipe}
