"""The task of classifiers: what its recipes may say, and where its runs are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from shared.datasets.augment import Augment
from shared.schema import Strict
from shared.training.recipe import Fraction, Recipe, Shape
from shared.training.tasks import Task, late


class Distil(Strict):
    """Knowledge distillation (Hinton, Vinyals and Dean 2015, section 2) from a kept checkpoint.

    The loss is (1 - `weight`) times the recipe's own and `weight` times T^2 KL(teacher || student), both softened by
    the `temperature` T. The teacher sees the very images of the student, in evaluation mode.

    Attributes:
        teacher: a kept checkpoint, "<slug>/<name>", with the classes and the input of the student.
    """

    teacher: Annotated[str, Field(pattern=r"^[a-z0-9_]+/[a-z0-9-]+$")]
    weight: Annotated[float, Field(gt=0, le=1)]
    temperature: PositiveFloat = 1.0


class ClassificationRecipe(Recipe):
    """How a classifier is trained; its length is given in `epochs` or in optimiser `steps`.

    Attributes:
        accumulate: an optimiser step takes the mean of the gradients of so many batches of `batch_size`; of as many as
            are left, but divided by the full number, at the end of an epoch.
        ema_decay: of the exponential moving average of the weights, which is then what is evaluated and kept.
    """

    task: Literal["classification"] = "classification"
    steps: PositiveInt | None = None
    accumulate: PositiveInt = 1
    augment: Augment = Augment()
    label_smoothing: Fraction = 0.0
    ema_decay: Fraction | None = None
    distil: Distil | None = None

    @model_validator(mode="after")
    def _one_length(self) -> ClassificationRecipe:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        if self.steps is not None:
            self.schedule.check(steps=self.steps)
        return self

    def length(self, steps_per_epoch: int) -> int:
        """The number of optimiser steps."""
        return self.steps or super().length(steps_per_epoch)

    def input(self, shape: Shape) -> Shape:
        """The recipe's crop of the images, where it has one."""
        crop = self.augment.random_resized_crop
        return shape if crop is None else (shape[0], crop.size, crop.size)

    def reads(self) -> tuple[str, ...]:
        """The teacher."""
        return () if self.distil is None else (self.distil.teacher,)


TASK = Task(
    name="classification",
    recipe=ClassificationRecipe,
    boxes=False,
    hardware=frozenset(
        {"accelerator", "devices", "nodes", "strategy", "precision", "channels_last", "workers", "graph"}
    ),
    continues=True,
    headlines={"top1": "top-1 {:.2f} %"},
    curve=("test_top1", "top-1 accuracy on the test split (%)"),
    trains=("shared.training.fit", "papers.{paper}"),
    measures=("shared.training.accuracy", "papers.{paper}"),
    run=late("shared.training.fit", "ClassificationRun"),
    measure=late("shared.training.accuracy", "measure"),
)
