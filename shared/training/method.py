"""What only one paper does in training: its method, found by name in its package, with hooks around the training step.

A paper states METHODS in `papers/<slug>/__init__.py`; a recipe names one, `method: {name: slimming, penalty: 1.0e-4}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from shared.code import code_of
from shared.errors import nearest
from shared.schema import Strict

if TYPE_CHECKING:
    from shared.training.recipe import Recipe


class Method(Strict):
    """A paper's way of training. Its fields are its parameters; every hook does nothing until it is overridden.

    A method that keeps something between steps keeps it in private attributes, begins it anew in `attach`, and hands it
    to `state`: a run that was killed and resumed is to end equal to one that was not.

    Attributes:
        capturable: a CUDA graph can hold `loss`, `before_step` and `after_step`: they compute on the device alone, and
            what they keep from step to step is in tensors that they write in place. A graph repeats what was done to
            tensors, not what Python did. A method with one of these hooks that does not state it is trained eagerly.
    """

    capturable: ClassVar[bool] = False

    name: str

    def suits(self, recipe: Recipe) -> None:
        """ValueError when the recipe asks for something that the method cannot be trained with."""

    def attach(self, network: nn.Module) -> None:
        """Called once, before the optimiser is built; PapertrailError when the network has not what it takes."""

    def parameter_groups(self, network: nn.Module) -> list[tuple[list[str], dict[str, Any]]]:
        """Parameters, by name, that are groups of their own in the optimiser, and the options of each group."""
        return []

    def loss(self, network: nn.Module) -> Tensor | None:
        """A term that is added to the loss of a step."""
        return None

    def before_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """The gradients are there (and clipped), the optimiser has not moved anything yet."""

    def after_step(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """The optimiser has moved the parameters."""

    def after_epoch(self, network: nn.Module) -> None:
        """The last step of an epoch is made; its evaluation comes after this."""

    def finish(self, network: nn.Module) -> tuple[nn.Module, dict[str, Any]]:
        """The network that is kept, and what its builder's arguments become where they change."""
        return network, {}

    def metrics(self, network: nn.Module) -> dict[str, float]:
        """What the method tells of a trained network besides the task's own metrics."""
        return {}

    def state(self) -> dict[str, Any]:
        """What a resumed run needs: tensors, numbers and text, in lists and dictionaries."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on with what `state` gave."""


def hook_steps(optimiser: torch.optim.Optimizer, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call `before` once the gradients of a step are there, and `after` when the optimiser has moved the parameters.

    Lightning hands the step a closure that makes the gradients: then `before` comes at the closure's end. The step is
    the right place under data parallelism, because there a gradient is the mean over all processes.
    """

    def before_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)  # args[0] is the optimiser
        if closure is None:
            before()
            return None

        def closure_and_before() -> Any:
            loss = closure()
            before()
            return loss

        return args[:1], {"closure": closure_and_before}

    optimiser.register_step_pre_hook(before_step)
    optimiser.register_step_post_hook(lambda *_: after())


def named(table: str, key: str, own: type[Strict] | None = None, names: tuple[str, ...] = ()) -> BeforeValidator:
    """Reads a mapping as the class that the protocol's paper has, in its `table`, under the name in `key`.

    Args:
        table: of the paper's package: a dictionary of classes.
        key: of the mapping.
        own: the core's class for the names of its own.
        names: those names.
    """

    def find(value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        name = value.get(key)
        if own is not None and (name in names or not isinstance(name, str)):
            return own.model_validate(value, context=info.context)
        paper = (info.context or {}).get("paper", "")
        stated = _stated(paper, table)
        if not isinstance(name, str) or name not in stated:
            where = f"papers/{paper}" if paper else "a protocol without its paper"
            fault = {"where": where, "key": key, "name": str(name), "near": nearest(str(name), [*names, *stated])}
            raise PydanticCustomError("unknown_name", "{where} has no `{key}: {name}`; {near}", fault)
        return stated[name].model_validate(value, context=info.context)

    return BeforeValidator(find)


def _stated(paper: str, table: str) -> dict[str, type[Strict]]:
    return getattr(code_of(paper), table, {}) if paper.isidentifier() else {}
