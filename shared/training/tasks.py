"""What can be trained: one table, and nothing else asks which task it is.

Every task is a module that states `TASK`; it is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from shared.errors import UsageError, nearest
from shared.training.recipe import Recipe
from shared.weights.card import headline

if TYPE_CHECKING:
    from shared.training.run import Run

TASKS = {"classification": "shared.training.classification", "detection": "shared.detection.task"}
DEFAULT = "classification"  # of a recipe that does not say


@dataclass(frozen=True)
class Task:
    """A kind of network, and how it is trained and judged. What is heavy is imported by the functions.

    Attributes:
        name: as the table has it.
        recipe: what its recipes may say.
        boxes: whether it learns from sets with boxes; otherwise from sets with a label for each image.
        hardware: the keys of a protocol's `trainer` that its runs heed; any other is refused.
        continues: whether its arms may continue others (`of`).
        headlines: the metrics that a run is told by (the first that it gives), with their words: "top-1 {:.2f} %".
        curve: the column of curves.csv that is worth a look, and its title.
        trains: the modules that training starts from, with "{paper}" for the slug.
        measures: those that measuring starts from.
        keeps: the folders that measuring leaves beside an arm's metrics.json.
        run: makes the run of (paper, name of the protocol, protocol, arm, seed).
        measure: the metrics of a network on the test split of a data set by its name.
    """

    name: str
    recipe: type[Recipe]
    boxes: bool
    hardware: frozenset[str]
    continues: bool
    headlines: dict[str, str]
    curve: tuple[str, str]
    trains: tuple[str, ...]
    measures: tuple[str, ...]
    run: Callable[..., Run]
    measure: Callable[[nn.Module, Any, str], dict[str, float]]
    keeps: tuple[str, ...] = ()

    def tell(self, metrics: dict[str, float]) -> str:
        """The headline metric with its value and unit."""
        metric = headline(metrics)
        return self.headlines[metric].format(metrics[metric])


def late(module: str, name: str) -> Callable[..., Any]:
    """A function or class of a module that is imported, by its name, when it is called: what reads a recipe alone does
    not depend on it."""
    return lambda *what: getattr(importlib.import_module(module), name)(*what)


def task(name: str) -> Task:
    """The task of that name; UsageError names the nearest."""
    if name not in TASKS:
        raise UsageError(f"recipe.task: no task `{name}`; {nearest(name, TASKS)}")
    return importlib.import_module(TASKS[name]).TASK


def task_of(recipe: Recipe) -> Task:
    """The task that a recipe trains for."""
    return task(recipe.task)
