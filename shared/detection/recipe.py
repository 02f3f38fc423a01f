"""How a detector is trained: what `recipe:` may say in params.yaml when its `task` is detection."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from shared.schema import validated
from shared.training.recipe import Recipe, Shape

Box = tuple[PositiveInt, PositiveInt]


class DetectionRecipe(Recipe):
    """MMDetection's Runner makes `epochs` passes over the training split.

    Boxes are (width, height) in pixels; an image is scaled to fit into one, its aspect ratio kept.

    Attributes:
        size: the box of the test images, and of the training images unless `scales` or `zoom` give them another.
        scales: boxes, of which each training image draws one.
        zoom: the training images' box is `size` times a factor drawn between these two.
        crop: training images are cut, at a place drawn at random, to what fits into this box.
        flip: how often a training image is mirrored.
        group_shapes: a batch has wide images alone or tall ones alone, so that less of it is padding.
        masks: objects have outlines, which the detector learns and is measured by, too (sets in COCO's layout).
        evaluate_divergence: a loss that is not finite ends the run with the weights of that moment as its result. Where
            divergence itself is what a claim is about; anywhere else it is an error.
    """

    task: Literal["detection"]
    epochs: PositiveInt
    size: Box
    scales: tuple[Box, ...] = ()
    zoom: tuple[PositiveFloat, PositiveFloat] | None = None
    crop: Box | None = None
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    group_shapes: bool = False
    masks: bool = False
    evaluate_divergence: bool = False

    @model_validator(mode="after")
    def _one_scale(self) -> DetectionRecipe:
        if self.scales and self.zoom:
            raise ValueError("give either `scales` or `zoom`")
        if self.zoom and self.zoom[0] > self.zoom[1]:
            raise ValueError("`zoom` must be [low, high]")
        return self

    def input(self, shape: Shape) -> Shape:
        """The box of the test images."""
        return (shape[0], self.size[1], self.size[0])


def read_recipe(paper: str, value: dict[str, Any]) -> DetectionRecipe:
    """A recipe of a paper; PapertrailError names every key that is unknown or wrong."""
    return validated(DetectionRecipe, value, f"papers/{paper}: recipe", {"paper": paper})
