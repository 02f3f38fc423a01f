"""What params.yaml decides of an arm: the part of a run's plan that a pinned record is held to."""

from __future__ import annotations

from typing import Any

from shared import datasets
from shared.training.recipe import Protocol, input_shape

# Of `trainer` what changes numbers; where a run takes place does not.
DECIDING = ("precision", "channels_last")


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
        "input": list(input_shape(protocol)),
        "data": protocol.data,
        "data_hash": spec.fingerprint,
        "trainer": {key: hardware[key] for key in DECIDING},
        "chain": [_link(protocol, one) for one in protocol.lineage(arm)],
    }


def _link(protocol: Protocol, name: str) -> dict[str, Any]:
    arm = protocol.arms[name]
    prune = None if arm.prune is None else arm.prune.model_dump(mode="json")
    recipe = None if prune is not None else protocol.recipe_of(name).model_dump(mode="json")
    return {"arm": name, "prune": prune, "weights": arm.weights, "budget": arm.budget, "recipe": recipe}
