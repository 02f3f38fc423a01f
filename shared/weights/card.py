"""The card: a JSON file beside kept weights that says what they are and guards itself by a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.errors import PapertrailError, UsageError, nearest
from shared.files import ROOT, read_json, text_bytes
from shared.schema import Strict, validated

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Commit = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
# The names that DVC artefacts allow.
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Arguments = dict[str, bool | int | float | str]
SEAL = "card_sha256"
LICENCE: Literal["Apache-2.0"] = "Apache-2.0"


class Identity(Strict):
    """What weights are: the network, with the arguments that it has in the end, and the run that made it."""

    paper: str
    protocol: str
    arm: str
    seed: int
    model: str
    args: Arguments
    classes: int
    input: tuple[int, int, int]
    data: str
    data_hash: Hash
    metrics: dict[str, float]
    sha256: Hash


class Golden(Strict):
    """Logits (4, classes) for four images of seeded noise: a check that needs no data set."""

    noise_seed: int
    logits: tuple[tuple[float, ...], ...]


class Card(Identity):
    """What kept weights are, and what makes them verifiable; how they came to be is in the record of their run.

    Attributes:
        params: parameters of the network, in whole numbers.
        macs: multiply-adds for one image of `input` (C, H, W).
        bytes: size of the weights file.
        digest: over the tensors themselves, however they are packed.
        pinned: the day, YYYY-MM-DD.
        supersedes: the checkpoint of the same arm and seed that this one replaces.
    """

    name: Name
    params: int
    macs: int
    licence: Literal["Apache-2.0"]
    bytes: int
    digest: Hash
    golden: Golden
    pinned: Day
    supersedes: Name | None = None

    @property
    def ref(self) -> str:
        """The name that the command line takes, "<slug>/<name>"."""
        return f"{self.paper}/{self.name}"


def home(slug: str) -> Path:
    """The folder of a paper."""
    return ROOT / "papers" / slug


def folder(slug: str) -> Path:
    """Where a paper's checkpoints lie."""
    return home(slug) / "checkpoints"


def seal(card: Card) -> str:
    """The text of a card's file, which ends with a hash over everything else in it."""
    return _sealed(card.model_dump(mode="json"))


def read_card(path: Path) -> Card:
    """A card of which nothing but line ends was changed; PapertrailError names the file otherwise."""
    content = read_json(path)
    if not isinstance(content, dict) or _sealed(content).encode() != text_bytes(path):
        raise PapertrailError(
            f"{path}: the card was changed after it was sealed; restore it with `git checkout -- {path}`"
        )
    card = validated(Card, {key: value for key, value in content.items() if key != SEAL}, str(path))
    if path.stem != card.name:
        raise PapertrailError(f"{path}: this is the card of `{card.name}`; a pinned file keeps its name")
    return card


def cards(slug: str) -> list[Card]:
    """Every card of a paper, by name."""
    return [read_card(path) for path in sorted(folder(slug).glob("[!.]*.json"))]


def pinned_names(slug: str = "*") -> list[str]:
    """Every "<slug>/<name>" of a paper, or of every one, also of a card or of weights that lost the other."""
    kinds = ("json", "safetensors")
    files = [path for kind in kinds for path in ROOT.glob(f"papers/{slug}/checkpoints/[!.]*.{kind}")]
    return sorted({f"{file.parents[1].name}/{file.stem}" for file in files})


def find(ref: str) -> Path:
    """The card's path of "<slug>/<name>"; UsageError names the nearest."""
    known = pinned_names()
    if ref not in known:
        raise UsageError(f"no checkpoint `{ref}`; {nearest(ref, known)} (`papertrail checkpoints` lists all)")
    slug, name = ref.split("/")
    return folder(slug) / f"{name}.json"


def headline(metrics: Mapping[str, object]) -> str:
    """The metric that a run is told by: the first that its evaluation gives."""
    return next(iter(metrics))


def _sealed(content: dict[str, Any]) -> str:
    """The one text that a card of this content has: a hash of the values alone would miss 1e-05 turned into 1E-05."""
    unsealed = {key: value for key, value in content.items() if key != SEAL}
    own = hashlib.sha256(json.dumps(unsealed, sort_keys=True).encode()).hexdigest()
    return json.dumps(unsealed | {SEAL: own}, indent=2, ensure_ascii=False) + "\n"
