"""Protocols: the data and the schedule of runs, and the networks (arms) that are compared under them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveInt,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shared import datasets
from shared.errors import PapertrailError, UsageError, nearest
from shared.files import ROOT, read_yaml
from shared.schema import Strict, validated
from shared.training.pruning import StatedPrune
from shared.training.recipe import Hardware, Recipe, Shape
from shared.training.tasks import DEFAULT, TASKS, task, task_of

SEEDS = 2**32  # there are so many: NumPy, which draws for detectors, takes no other
EMBEDDED = "mini"  # the protocol of the main job: it shows that everything runs, and decides nothing

ArmName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


def _of_its_task(value: Any, info: ValidationInfo) -> Any:
    """A mapping as the recipe of the task that it names."""
    if not isinstance(value, dict):
        return value
    name = str(value.get("task", DEFAULT))
    if name not in TASKS:
        raise ValueError(f"no task `{name}`; {nearest(name, TASKS)}")
    return task(name).recipe.model_validate(value, context=info.context)


StatedRecipe = Annotated[SerializeAsAny[Recipe], BeforeValidator(_of_its_task)]


class Arm(Strict):
    """One network of a protocol: what a builder makes, or what another arm ended with under the same seed.

    Attributes:
        builder: of the paper's MODELS.
        args: its arguments; the number of classes comes from the data.
        begin: the trained network of others that the arm begins with, "<slug>/<name>" in PUBLISHED of that paper's
            upstream.py; it is what `builder` and `args` make, and sees images as the recipe normalises them.
        of: the arm of this protocol whose network this one continues.
        prune: what is taken out of that network; then nothing is trained.
        weights: what the arm begins with. In the structure that pruning left there are the weights as they ended
            ("inherited"), as they were before any training ("initial"), or drawn anew ("random").
        budget: as many epochs as the recipe says, or as many more as the network has fewer MACs than the one that the
            chain of arms began with (scratch-B of Liu et al. 2019, section 3).
        recipe: what of it is other than in the protocol's. A part that states its own `name` stands alone; of any other
            the keys that it states take the place of the protocol's.
    """

    builder: str = ""
    args: dict[str, bool | int | float | str] = {}
    begin: Annotated[str, Field(pattern=r"^[a-z0-9_]+/.+$")] | None = None
    of: ArmName | None = None
    prune: StatedPrune = None
    weights: Literal["inherited", "initial", "random"] = "inherited"
    budget: Literal["epochs", "macs"] = "epochs"
    recipe: StatedRecipe | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Arm:
        if bool(self.builder) == bool(self.of):
            raise ValueError("give either `builder` or `of`")
        if self.of is None and (self.weights != "inherited" or self.budget != "epochs"):
            raise ValueError("`weights` and `budget` belong to an arm that continues another (`of`)")
        if self.prune and not self.continues:
            raise ValueError("`prune` belongs to an arm that continues another (`of`) or has a `begin`")
        if self.of is not None and self.args:
            raise ValueError("`args` belong to a `builder`; an arm that continues another has its network")
        if self.of is not None and self.begin:
            raise ValueError("`begin` belongs to a `builder`; an arm that continues another has its weights")
        if self.prune and (self.recipe or self.weights != "inherited" or self.budget != "epochs"):
            raise ValueError("an arm that prunes trains nothing: `recipe`, `weights` and `budget` belong to the next")
        return self

    @property
    def start(self) -> str | None:
        """Whose trained weights it begins with: an arm of this protocol, or the reference of a published network."""
        return self.of or self.begin

    @property
    def continues(self) -> bool:
        """Whether it begins with trained weights."""
        return self.start is not None


class Protocol(Strict):
    """The data and the schedule of a run, and the networks that are compared under it.

    Each arm is trained with the seeds `seed`, `seed + 1`, ... (`repeats` of them). `sources` says where each value of
    the recipe comes from, `needs` in plain words what running it takes: "one GPU, about 40 hours".
    """

    what: str
    data: str
    needs: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    repeats: PositiveInt = 1
    arms: Annotated[dict[ArmName, Arm], Field(min_length=1)]
    recipe: StatedRecipe
    trainer: Hardware = Hardware()
    sources: dict[str, str] = {}

    @model_validator(mode="before")
    @classmethod
    def _recipes_in_full(cls, stated: Any) -> Any:
        if not isinstance(stated, dict) or not isinstance(stated.get("arms"), dict):
            return stated
        arms = {
            name: arm | {"recipe": _over(stated.get("recipe"), arm["recipe"])}
            if isinstance(arm, dict) and "recipe" in arm
            else arm
            for name, arm in stated["arms"].items()
        }
        return stated | {"arms": arms}

    @field_validator("data")
    @classmethod
    def _data_is_known(cls, name: str) -> str:
        try:
            datasets.spec(name)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return name

    @model_validator(mode="after")
    def _seeds_are_32_bits(self) -> Protocol:
        if self.seeds.stop > SEEDS:
            raise ValueError(f"`seed` and `repeats`: seeds go from 0 to {SEEDS - 1}")
        return self

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
    def _budget_can_be_spent(self) -> Protocol:
        for name, arm in self.arms.items():
            if arm.budget != "macs":
                continue
            steps = [self.arms[one].prune for one in self.lineage(name)]
            if any(step is not None and step.shapes == "kept" for step in steps):
                raise ValueError(f"arm `{name}`: after `shapes: kept` no MACs are gone that `budget: macs` could spend")
            if self.recipe_of(name).epochs is None:
                raise ValueError(f"arm `{name}`: `budget: macs` multiplies epochs: its recipe needs `epochs`")
        return self

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> Protocol:
        kind = task_of(self.recipe)
        if (datasets.spec(self.data).boxes is not None) != kind.boxes:
            raise ValueError(
                f"data: {self.data} is a set {'without' if kind.boxes else 'with'} boxes, and no data for the task "
                f"`{kind.name}` (`recipe.task`)"
            )
        for key in sorted(self.trainer.model_fields_set - kind.hardware):
            raise ValueError(f"trainer.{key}: a run of the task `{kind.name}` does not heed it; remove it")
        for name, arm in self.arms.items():
            if arm.recipe is not None and arm.recipe.task != kind.name:
                other = f"the protocol's is `{kind.name}`"
                raise ValueError(f"arms.{name}.recipe.task: the arm's recipe is of `{arm.recipe.task}`, {other}")
            if arm.continues and not kind.continues:
                key = "of" if arm.begin is None else "begin"
                raise ValueError(f"arms.{name}.{key}: an arm of the task `{kind.name}` begins with its builder")
            if arm.weights == "initial" and self.origin(name).begin is not None:
                raise ValueError(f"arms.{name}.weights: what `{self.lineage(name)[0]}` begins with is trained already")
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

    def action(self, arm: str) -> Literal["train", "prune"]:
        """What makes an arm: `python -m shared.training <action>`."""
        return "train" if self.arms[arm].prune is None else "prune"

    def recipe_of(self, arm: str) -> Recipe:
        """How an arm is trained and measured; one that prunes is measured as the arm was that it continues."""
        one = self.arms[arm]
        if one.prune is not None and one.of is not None:
            return self.recipe_of(one.of)
        return one.recipe or self.recipe

    @property
    def seeds(self) -> range:
        """The seeds of every arm."""
        return range(self.seed, self.seed + self.repeats)


def _over(whole: Any, part: Any) -> Any:
    """An arm's recipe, or a part of it, over the protocol's; what has another name, or another task, stands alone."""
    if not isinstance(whole, dict) or not isinstance(part, dict) or "name" in part:
        return part
    kind = whole.get("task", DEFAULT)
    if part.get("task", kind) != kind:
        return part
    return whole | {key: _over(whole.get(key), value) for key, value in part.items()}


def load_protocols(path: Path) -> dict[str, Protocol]:
    """The protocols of papers/<slug>/params.yaml, whose methods and rules are found in papers/<slug>.

    PapertrailError names the file and every key that is unknown or wrong.
    """
    return {name: _read(path, name, value) for name, value in _stated(path).items()}


def load_protocol(path: Path, name: str) -> Protocol:
    """One protocol of a params.yaml, the tasks of the others left alone; UsageError names the nearest."""
    stated = _stated(path)
    if name not in stated:
        raise UsageError(f"{path}: no protocol `{name}`; {nearest(name, stated)}")
    return _read(path, name, stated[name])


def protocol_with(paper: str, name: str, arm: str) -> Protocol:
    """A paper's protocol; UsageError names the nearest when it, or the arm, does not exist."""
    path = ROOT / "papers" / paper / "params.yaml"
    if not path.exists():
        known = (folder.parent.name for folder in (ROOT / "papers").glob("*/params.yaml"))
        raise UsageError(f"no paper `{paper}`; {nearest(paper, known)}")
    protocol = load_protocol(path, name)
    if arm not in protocol.arms:
        raise UsageError(f"{path}: `{name}` has no arm `{arm}`; {nearest(arm, protocol.arms)}")
    return protocol


def input_shape(protocol: Protocol, arm: str) -> Shape:
    """What the network sees, (C, H, W): the data set's images, or the crop of them by the arm's recipe."""
    return protocol.recipe_of(arm).input(datasets.spec(protocol.data).shape)


def _stated(path: Path) -> dict[str, Any]:
    raw = read_yaml(path)
    if not isinstance(raw, dict) or not raw:
        raise PapertrailError(f"{path}: expected one mapping of protocol names to protocols")
    return raw


def _read(path: Path, name: str, value: Any) -> Protocol:
    return validated(Protocol, value, f"{path}: {name}", {"paper": path.parent.name})
