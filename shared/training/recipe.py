"""The recipe as data: what params.yaml may say, checked key by key.

params.yaml is at once DVC's parameter file and the recipe that Lightning runs: there is no second copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from shared import datasets
from shared.datasets.augment import Augment
from shared.errors import PapertrailError, UsageError
from shared.files import read_yaml
from shared.schema import Strict, validated

Fraction = Annotated[float, Field(ge=0, lt=1)]
NonNegative = Annotated[float, Field(ge=0)]
ArmName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


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


class Schedule(Strict):
    """The learning rate as a factor of the optimiser's `lr`; a warm-up rises linearly from `warmup_from` to 1.

    `milestones` and `every` are counted in `unit`s from the start of training, warm-up included.
    """

    name: Literal["constant", "step", "multistep", "cosine", "linear"] = "constant"
    warmup_epochs: NonNegative = 0.0
    warmup_from: Fraction = 0.0
    gamma: PositiveFloat = 0.1
    every: PositiveInt | None = None
    milestones: tuple[PositiveInt, ...] = ()
    unit: Literal["epoch", "step"] = "epoch"

    @model_validator(mode="after")
    def _complete(self) -> Schedule:
        if (self.name == "step") != (self.every is not None):
            raise ValueError("`every` belongs to the schedule `step`, and `step` needs it")
        if (self.name == "multistep") != bool(self.milestones):
            raise ValueError("`milestones` belong to the schedule `multistep`, and `multistep` needs them")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("`milestones` must rise")
        return self


class Recipe(Strict):
    """How a network is trained; its length is given in `epochs` or in optimiser `steps`."""

    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    batch_size: PositiveInt
    optimiser: Optimiser
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    label_smoothing: Fraction = 0.0
    ema_decay: Fraction | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Recipe:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        return self

    @property
    def task(self) -> Literal["classification"]:
        """What kind of network the recipe trains."""
        return "classification"


class DetectionRecipe(Strict):
    """How a detector is trained: MMDetection's Runner makes `epochs` passes over the training split.

    Attributes:
        size: (width, height) of the box that an image is scaled to fit, its aspect ratio kept.
        flip: how often an image is mirrored.
        clip: the largest gradient norm; none when it is not given.
        evaluate_divergence: a loss that is not finite ends the run with the weights of that moment as its result. Where
            divergence itself is what a claim is about; anywhere else it is an error.
    """

    task: Literal["detection"]
    epochs: PositiveInt
    batch_size: PositiveInt
    optimiser: Optimiser
    schedule: Schedule = Schedule()
    size: tuple[PositiveInt, PositiveInt]
    flip: Annotated[float, Field(ge=0, le=1)] = 0.5
    clip: PositiveFloat | None = None
    evaluate_divergence: bool = False


# Names of the two kinds where pydantic wants them; in brackets, so that messages can leave them out of a key's path.
CLASSIFICATION, DETECTION = "<classification>", "<detection>"


def _task(value: object) -> str:
    named = value.get("task", "classification") if isinstance(value, dict) else getattr(value, "task", "classification")
    return DETECTION if named == "detection" else CLASSIFICATION


AnyRecipe = Annotated[
    Annotated[Recipe, Tag(CLASSIFICATION)] | Annotated[DetectionRecipe, Tag(DETECTION)], Discriminator(_task)
]


class Hardware(Strict):
    """Where Lightning runs it; `batch_size` of the recipe is the total over all devices and nodes."""

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: PositiveInt | Literal["auto"] = 1
    nodes: PositiveInt = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    channels_last: bool = False
    workers: Annotated[int, Field(ge=0)] = 0


class Arm(Strict):
    """One network of a protocol: a builder of the paper's MODELS and its arguments (classes come from the data)."""

    builder: str
    args: dict[str, bool | int | float | str] = {}


class Protocol(Strict):
    """The data and the schedule of a run, and the networks that are compared under it.

    Each arm is trained with the seeds `seed`, `seed + 1`, ... (`repeats` of them). `sources` says where each value of
    the recipe comes from.
    """

    what: str
    data: str
    seed: Annotated[int, Field(ge=0)] = 0
    repeats: PositiveInt = 1
    arms: dict[ArmName, Arm]
    recipe: AnyRecipe
    trainer: Hardware = Hardware()
    sources: dict[str, str] = {}

    @property
    def seeds(self) -> range:
        """The seeds of every arm."""
        return range(self.seed, self.seed + self.repeats)


def load_protocols(path: Path) -> dict[str, Protocol]:
    """The protocols of a params.yaml; PapertrailError names the file and every key that is unknown or wrong."""
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not raw:
        raise PapertrailError(f"{path}: expected one mapping of protocol names to protocols")
    return {name: validated(Protocol, value, f"{path}: {name}") for name, value in raw.items()}


def load_protocol(path: Path, name: str) -> Protocol:
    """One protocol of a params.yaml; UsageError lists those it has."""
    protocols = load_protocols(path)
    if name not in protocols:
        raise UsageError(f"{path}: no protocol `{name}`; it has {', '.join(protocols)}")
    return protocols[name]


def classification(recipe: Recipe | DetectionRecipe) -> Recipe:
    """The recipe of a classifier; UsageError when it is a detector's."""
    if isinstance(recipe, DetectionRecipe):
        raise UsageError("this protocol trains a detector: `python -m shared.detection` runs it")
    return recipe


def detection(recipe: Recipe | DetectionRecipe) -> DetectionRecipe:
    """The recipe of a detector; UsageError when it is a classifier's."""
    if isinstance(recipe, Recipe):
        raise UsageError("this protocol trains a classifier: `python -m shared.training` runs it")
    return recipe


def input_shape(protocol: Protocol) -> tuple[int, int, int]:
    """What the network sees, (C, H, W): the data set's images, or the recipe's crop of them."""
    if isinstance(protocol.recipe, DetectionRecipe):
        return (3, protocol.recipe.size[1], protocol.recipe.size[0])
    shape = datasets.spec(protocol.data).shape
    crop = protocol.recipe.augment.random_resized_crop
    return shape if crop is None else (shape[0], crop.size, crop.size)
