"""What an arm's `prune` says: a rule of the core, or one that a paper has for itself, found by name in its PRUNERS."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import SerializeAsAny, model_validator
from torch import Tensor, nn

from shared.schema import Strict
from shared.training.method import named
from shared.training.recipe import Fraction

if TYPE_CHECKING:
    from shared.datasets import DatasetSpec

CHANNELS = ("scale", "l1", "l2", "taylor", "random")  # see shared/compression/importance.py
RULES = (*CHANNELS, "magnitude")


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What is left of a network.

    Attributes:
        args: what the builder's arguments become: the widths, when channels went, or whatever a paper's rule changes.
        state: the weights, of those widths.
        whole: a network of the old size with the same function, whose modules give the same, save for what went and is
            0 in it; comparing uses it up.
        floored: prunable layers that would have lost every channel; one is left.
    """

    args: dict[str, Any]
    state: dict[str, Tensor]
    whole: nn.Module
    floored: tuple[str, ...] = ()


Decision = Callable[[nn.Module], Pruned]  # takes the same out of any network of one structure, and changes none


class Prune(Strict):
    """What is taken out of a trained network.

    Attributes:
        by: what judges a channel, as shared/compression/importance.py has it; or "magnitude", which judges every weight
            of the convolutions by itself; or the name of a rule in the paper's PRUNERS.
        ratio: the share that goes; or one for each layer that loses any, by its name or a glob pattern.
        scope: one threshold for the whole network, or the same share of every layer.
        most: with one threshold for the whole network, the largest share of its channels that a layer can lose.
        shapes: "smaller" builds the narrower network. "kept" sets the scale and shift of each channel that goes to zero
            and holds them there: the same function with the full network's size and MACs, and a layer may lose all.
    """

    by: str
    ratio: Fraction | dict[str, Fraction] | None = None
    scope: Literal["global", "layer"] = "global"
    most: Fraction | None = None
    shapes: Literal["smaller", "kept"] = "smaller"

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        self.check()
        return self

    def check(self) -> None:
        """ValueError when keys do not go together."""
        if self.ratio is None:
            raise ValueError(f"`by: {self.by}` needs a `ratio`")
        if self.most is not None and (self.scope == "layer" or self.by == "magnitude"):
            raise ValueError("`most` limits one threshold for the channels of all layers: it needs `scope: global`")
        if isinstance(self.ratio, dict) and (self.scope == "global" or self.by == "magnitude"):
            raise ValueError("a ratio for each layer is for channels and needs `scope: layer`")
        if self.shapes == "kept" and self.by == "magnitude":
            raise ValueError("`shapes: kept` is for channels that are judged one by one, not for `by: magnitude`")

    @property
    def zeros(self) -> Literal["weights", "channels"] | None:
        """What is zero afterwards, and is to stay zero, where the network keeps its shapes."""
        if self.by == "magnitude":
            return "weights"
        return "channels" if self.shapes == "kept" else None


class PaperPrune(Prune):
    """A rule that one paper has; its class is in the PRUNERS of `papers/<slug>/__init__.py`."""

    def decide(self, network: nn.Module, spec: DatasetSpec, seed: int) -> Decision:
        """Decide by `network`, which stays as it is, what goes.

        `spec` is that of the data set that the network was trained on, `seed` of what is drawn.
        """
        raise NotImplementedError


StatedPrune = Annotated[SerializeAsAny[Prune] | None, named("PRUNERS", "by", Prune, RULES)]
