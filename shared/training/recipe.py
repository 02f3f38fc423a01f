"""The recipe as data: what params.yaml may say, checked key by key.

params.yaml is at once DVC's parameter file and the recipe that Lightning runs: there is no second copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

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
    """How a network is trained; its length is given in `epochs` or in optimiser `steps`.

    `scale_l1` is the weight of the L1 norm of every batch normalisation's scales in the loss (Network Slimming,
    equation 1); where it is stated, also as 0, the share of small scales is among the metrics. `soft_filters` is the
    share of each convolution's filters that are set to zero after every epoch, and trained on (soft filter pruning, He
    et al. 2018). `gate_l1` is the weight of the L1 norm of the gates of residual branches, which SGD then trains by
    proximal steps (shared/layers/gates.py); where it is stated, the number of gates that are not 0 is a metric.
    """

    epochs: PositiveInt | None = None
    steps: PositiveInt | None = None
    batch_size: PositiveInt
    optimiser: Optimiser
    schedule: Schedule = Schedule()
    augment: Augment = Augment()
    label_smoothing: Fraction = 0.0
    ema_decay: Fraction | None = None
    scale_l1: NonNegative | None = None
    soft_filters: Fraction | None = None
    gate_l1: NonNegative | None = None

    @model_validator(mode="after")
    def _one_length(self) -> Recipe:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either `epochs` or `steps`")
        if self.gate_l1 is not None and (self.optimiser.name != "sgd" or self.ema_decay is not None):
            raise ValueError("`gate_l1` needs the optimiser `sgd` and no `ema_decay`, whose averages are never 0")
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


class Prune(Strict):
    """What is taken out of a trained network.

    Attributes:
        by: what judges a channel, as shared/compression/importance.py has it; or "magnitude", which judges every weight
            of the convolutions by itself; or "thinet" or "regression", which go layer by layer and mend the weights
            behind (shared/compression/reconstruction.py); or "gate", the gates of residual branches.
        ratio: the share that goes; or one for each layer that loses any, by its name or a glob pattern. Without it
            "gate" takes the branches whose gate is 0; every other way needs it.
        scope: one threshold for the whole network, or the same share of every layer.
        most: with one threshold for the whole network, the largest share of its channels that a layer can lose.
        shapes: "smaller" builds the narrower network. "kept" sets the scale and shift of each channel that goes to zero
            and holds them there: the same function with the full network's size and MACs, and a layer may lose all.
    """

    by: Literal["scale", "l1", "l2", "taylor", "random", "magnitude", "thinet", "regression", "gate"]
    ratio: Fraction | dict[str, Fraction] | None = None
    scope: Literal["global", "layer"] = "global"
    most: Fraction | None = None
    shapes: Literal["smaller", "kept"] = "smaller"

    @model_validator(mode="after")
    def _one_place(self) -> Prune:
        if self.ratio is None and self.by != "gate":
            raise ValueError(f"`by: {self.by}` needs a `ratio`")
        if self.by == "gate" and (isinstance(self.ratio, dict) or self.scope == "layer"):
            raise ValueError("`by: gate` judges branches, not layers: one `ratio` or none, and no `scope: layer`")
        if self.most is not None and (self.scope == "layer" or self.by == "magnitude"):
            raise ValueError("`most` limits one threshold for the channels of all layers: it needs `scope: global`")
        if isinstance(self.ratio, dict) and self.scope == "global":
            raise ValueError("a ratio for each layer needs `scope: layer`")
        if self.shapes == "kept" and self.by in ("magnitude", "thinet", "regression", "gate"):
            raise ValueError(f"`shapes: kept` is for channels that are judged one by one, not for `by: {self.by}`")
        if self.by in ("thinet", "regression") and self.scope == "global":
            raise ValueError(f"`{self.by}` goes layer by layer: it needs `scope: layer`")
        return self

    @property
    def zeros(self) -> Literal["weights", "channels"] | None:
        """What is zero afterwards, and is to stay zero, where the network keeps its shapes."""
        if self.by == "magnitude":
            return "weights"
        return "channels" if self.shapes == "kept" else None


class Arm(Strict):
    """One network of a protocol: what a builder makes, or what another arm ended with under the same seed.

    Attributes:
        builder: of the paper's MODELS.
        args: its arguments; the number of classes comes from the data.
        of: the arm of this protocol whose network this one continues.
        prune: what is taken out of that network; then nothing is trained.
        weights: what the arm begins with. In the structure that pruning left there are the weights as they ended
            ("inherited"), as they were before any training ("initial"), or drawn anew ("random").
        budget: as many epochs as the recipe says, or as many more as the network has fewer MACs than the one that the
            chain of arms began with (scratch-B of Liu et al. 2019, section 3).
        recipe: instead of the protocol's.
    """

    builder: str = ""
    args: dict[str, bool | int | float | str] = {}
    of: ArmName | None = None
    prune: Prune | None = None
    weights: Literal["inherited", "initial", "random"] = "inherited"
    budget: Literal["epochs", "macs"] = "epochs"
    recipe: Recipe | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Arm:
        if bool(self.builder) == bool(self.of):
            raise ValueError("give either `builder` or `of`")
        if self.of is None and (self.prune or self.weights != "inherited" or self.budget != "epochs"):
            raise ValueError("`prune`, `weights` and `budget` belong to an arm that continues another (`of`)")
        if self.of is not None and self.args:
            raise ValueError("`args` belong to a `builder`; an arm that continues another has its network")
        if self.prune and (self.recipe or self.weights != "inherited" or self.budget != "epochs"):
            raise ValueError("an arm that prunes trains nothing: `recipe`, `weights` and `budget` belong to the next")
        return self


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

    @model_validator(mode="after")
    def _arms_end_at_a_builder(self) -> Protocol:
        for name, arm in self.arms.items():
            seen = [name]
            while arm.of is not None:
                if arm.of not in self.arms:
                    raise ValueError(f"arm `{seen[-1]}` continues `{arm.of}`, which is no arm of this protocol")
                if arm.of in seen:
                    raise ValueError(f"arm `{name}` continues itself: {' of '.join([*seen, arm.of])}")
                seen.append(arm.of)
                arm = self.arms[arm.of]
        return self

    @model_validator(mode="after")
    def _kept_shapes_have_no_budget(self) -> Protocol:
        for name, arm in self.arms.items():
            steps = [self.arms[one].prune for one in self.lineage(name)]
            if arm.budget == "macs" and any(step is not None and step.shapes == "kept" for step in steps):
                raise ValueError(f"arm `{name}`: after `shapes: kept` no MACs are gone that `budget: macs` could spend")
        return self

    def lineage(self, arm: str) -> list[str]:
        """The arms from the one that a builder makes to this one."""
        parent = self.arms[arm].of
        return [*(self.lineage(parent) if parent is not None else []), arm]

    def zeros(self, arm: str) -> frozenset[Literal["weights", "channels"]]:
        """What the prunings on the way to this arm's network set to zero, and what is to stay zero in training."""
        steps = [self.arms[one].prune for one in self.lineage(arm)]
        return frozenset(step.zeros for step in steps if step is not None and step.zeros is not None)

    def origin(self, arm: str) -> Arm:
        """The arm with the builder at the start of this one's chain; itself when it continues no other."""
        return self.arms[self.lineage(arm)[0]]

    def module(self, arm: str) -> Literal["training", "detection", "compression"]:
        """What trains or prunes an arm: `python -m shared.<module>`."""
        if self.arms[arm].of is not None:
            return "compression"
        return "detection" if self.recipe.task == "detection" else "training"

    def recipe_of(self, arm: str) -> Recipe | DetectionRecipe:
        """How an arm is trained."""
        return self.arms[arm].recipe or self.recipe

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


def completed(record: dict[str, Any], recipe: Recipe | DetectionRecipe) -> dict[str, Any]:
    """A recipe as a record has it, and the defaults of those keys of `recipe` that are younger than the record."""
    younger = {name: key.default for name, key in type(recipe).model_fields.items() if not key.is_required()}
    return younger | record
