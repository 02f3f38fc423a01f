"""The recipe as data: what every task's recipe may say, checked key by key.

params.yaml is at once DVC's parameter file and the recipe that is carried out: there is no second copy.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, SerializeAsAny, model_validator

from shared.errors import UsageError
from shared.schema import Strict
from shared.training.method import Method, named

# The keys that only some optimisers heed.
HEEDED = {"sgd": {"momentum", "nesterov"}, "adamw": {"betas", "eps"}, "rmsprop": {"momentum", "alpha", "eps"}}

Fraction = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
Shape = tuple[int, int, int]


class LayerDecay(Strict):
    """A smaller learning rate the nearer a layer is to the input (Howard and Ruder 2018; Bao et al. 2022 for blocks).

    `blocks` is a glob pattern such as "blocks.*" or "stages.*.*" for the names of the n blocks. Block i, from 1, has
    `rate ** (n + 1 - i)` times the learning rate, what stands before the first block `rate ** (n + 1)`, what stands
    between two blocks that of the former, and what stands behind the last one the whole. With `group` so many blocks in
    a row count as one.
    """

    rate: Annotated[float, Field(gt=0, lt=1)]
    blocks: str
    group: PositiveInt = 1


class Optimiser(Strict):
    """An optimiser and what its weight decay spares.

    `spare` lists "norm" (parameters of normalisation layers), "bias", or glob patterns on parameter names such as
    "*.cheap.*"; a pattern that meets no parameter is an error when the optimiser is built.
    """

    name: Literal["sgd", "adamw", "rmsprop"]
    lr: PositiveFloat
    weight_decay: NonNegative = 0.0
    spare: tuple[str, ...] = ()
    momentum: Fraction = 0.0
    nesterov: bool = False
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    alpha: Fraction = 0.99
    eps: PositiveFloat = 1e-8
    layer_decay: LayerDecay | None = None

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Optimiser:
        for key in sorted(set().union(*HEEDED.values()) - HEEDED[self.name]):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"`{key}` does nothing in `{self.name}`; remove it")
        if self.nesterov and not self.momentum:
            raise ValueError("`nesterov` needs a `momentum` above 0")
        return self


class Schedule(Strict):
    """The learning rate as a factor of the optimiser's `lr`; a warm-up rises linearly from `warmup_from` to 1.

    It is as long as `warmup_epochs` or `warmup_steps` say.
    `milestones` and `every` are counted in `unit`s from the start of training, warm-up included.
    """

    name: Literal["constant", "step", "multistep", "cosine", "linear"] = "constant"
    warmup_epochs: NonNegative = 0.0
    warmup_steps: PositiveInt | None = None
    warmup_from: Fraction = 0.0
    gamma: PositiveFloat = 0.1
    every: PositiveInt | None = None
    milestones: tuple[PositiveInt, ...] = ()
    unit: Literal["epoch", "step"] = "epoch"

    @model_validator(mode="after")
    def _complete(self) -> Schedule:
        if self.warmup_epochs and self.warmup_steps:
            raise ValueError("give either `warmup_epochs` or `warmup_steps`")
        if (self.name == "step") != (self.every is not None):
            raise ValueError("`every` belongs to the schedule `step`, and `step` needs it")
        if (self.name == "multistep") != bool(self.milestones):
            raise ValueError("`milestones` belong to the schedule `multistep`, and `multistep` needs them")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("`milestones` must rise")
        if self.name not in ("step", "multistep") and (self.gamma, self.unit) != (0.1, "epoch"):
            raise ValueError(f"`gamma` and `unit` do nothing in the schedule `{self.name}`; remove them")
        if self.warmup_from and not (self.warmup_epochs or self.warmup_steps):
            raise ValueError("`warmup_from` needs `warmup_epochs` or `warmup_steps`")
        return self

    def check(self, *, epochs: float = math.inf, steps: float = math.inf) -> None:
        """ValueError when a part of it is not reached in a training of so many epochs or steps, where known."""
        lengths = {"epoch": epochs, "step": steps}
        for key, unit, reached in (
            ("warmup_epochs", "epoch", self.warmup_epochs <= epochs),
            ("warmup_steps", "step", (self.warmup_steps or 0) <= steps),
            ("milestones", self.unit, max(self.milestones, default=0) < lengths[self.unit]),
            ("every", self.unit, (self.every or 0) < lengths[self.unit]),
        ):
            if not reached:
                found = getattr(self, key)
                raise ValueError(f"schedule.{key}: {found} is not reached in a training of {lengths[unit]:g} {unit}s")


class Recipe(Strict):
    """How a network is trained, whatever the task; each task's recipe is a class of its own (see tasks.py).

    Attributes:
        task: what is trained, a name of the table of tasks.
        epochs: passes over the training split.
        batch_size: samples in a batch, over all devices and nodes together.
        clip: the largest norm of all gradients together; none when it is not given.
        method: what the paper does in training, by the name that its METHODS have, and its parameters.
    """

    task: str
    epochs: PositiveInt | None = None
    batch_size: PositiveInt
    optimiser: Optimiser
    schedule: Schedule = Schedule()
    clip: PositiveFloat | None = None
    method: Annotated[SerializeAsAny[Method] | None, named("METHODS", "name")] = None

    @model_validator(mode="after")
    def _schedule_fits(self) -> Recipe:
        if self.epochs is not None:
            self.schedule.check(epochs=self.epochs)
        return self

    @model_validator(mode="after")
    def _method_suits(self) -> Recipe:
        if self.method is not None:
            self.method.suits(self)
        return self

    def length(self, steps_per_epoch: int) -> int:
        """The number of optimiser steps."""
        assert self.epochs is not None  # the task's validator
        return self.epochs * steps_per_epoch

    def check_length(self, steps_per_epoch: int) -> None:
        """UsageError when the schedule, where it counts otherwise than the recipe, has parts that are not reached."""
        steps = self.length(steps_per_epoch)
        try:
            self.schedule.check(**({"epochs": steps / steps_per_epoch} if self.epochs is None else {"steps": steps}))
        except ValueError as error:
            raise UsageError(f"recipe.{error}") from error

    def input(self, shape: Shape) -> Shape:
        """What the network sees, (C, H, W), of a data set's images of that shape."""
        return shape

    def reads(self) -> tuple[str, ...]:
        """The kept checkpoints, "<slug>/<name>", that training reads."""
        return ()


class Hardware(Strict):
    """Where Lightning runs it; `batch_size` of the recipe is the total over all devices and nodes.

    `graph` makes a training step one CUDA graph (see captured.py), which changes results to rounding alone. Unless it
    is stated, this is tried on a GPU; a step that cannot be captured is trained eagerly, and says why.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: PositiveInt = 1
    nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    channels_last: bool = False
    workers: Annotated[int, Field(ge=0)] = 0
    graph: bool | None = None

    @model_validator(mode="after")
    def _half_precision_has_a_gpu(self) -> Hardware:
        if self.precision == "16-mixed" and self.accelerator == "cpu":
            raise ValueError("`precision: 16-mixed` needs a GPU; a CPU takes 32-true or bf16-mixed")
        return self

    @model_validator(mode="after")
    def _a_graph_can_be_captured(self) -> Hardware:
        if self.graph and self.accelerator == "cpu":
            raise ValueError("`graph: true` needs a GPU; remove it")
        if self.graph and self.precision == "16-mixed":
            raise ValueError("`graph: true` does not go with `precision: 16-mixed`, whose scale Python follows")
        if self.graph and self.devices * self.nodes > 1:
            raise ValueError("`graph: true` is for one GPU; remove it, or `devices` and `nodes`")
        return self


def completed(record: dict[str, Any], stated: BaseModel) -> dict[str, Any]:
    """A value as a record has it, and the defaults of those keys of `stated`, nested ones too, that are younger."""
    plain = type(stated).model_construct().model_dump(mode="json", warnings=False)
    younger = {name: plain[name] for name, key in type(stated).model_fields.items() if not key.is_required()}
    whole = younger | record
    for name, value in record.items():
        inner = getattr(stated, name, None)
        if isinstance(inner, BaseModel) and isinstance(value, dict):
            whole[name] = completed(value, inner)
    return whole
