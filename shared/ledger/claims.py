"""Claims and their checks: what papers/<slug>/claims.yaml may say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from shared.errors import PapertrailError
from shared.files import ROOT, read_yaml
from shared.ledger.printed import parse_printed
from shared.schema import Strict, validated
from shared.training.recipe import Protocol, load_protocols

Counted = Literal["params", "macs", "adder_taps", "multiplications", "additions", "energy_mj"]
Measured = Literal[
    "top1",
    "top5",
    "error",
    "params_saved",
    "macs_saved",
    "memory_mb",
    "seconds",
    "ap",
    "ap50",
    "ap75",
    "ap_s",
    "ap_m",
    "ap_l",
    "map50",
    "latency_ms",
    "fps",
    "mse",
    "ordering",
    "outputs",
]
Confidence = Literal["read", "read_secondary", "digitised", "recalled", "computed", "derived"]
COUNTED = get_args(Counted)
Arguments = dict[str, bool | int | float | str]
TestName = Annotated[str, Field(pattern=r"^tests/.+\.py::test_\w+$")]


class CountCheck(Strict):
    """Built and counted here.

    Attributes:
        model: a builder of the paper's MODELS.
        args: its arguments.
        input: (C, H, W), when not what the model was made for.
        classes: when not what the model was made for.
        convention: how the paper counts: one multiply-add is one MAC, or two operations; or as a tool does, whose rules
            shared/measure/conventions.py states.
        units: what K, M and G of the print are: powers of 1000, or of 1024.
        variant: arguments under which the count is what is printed: the evidence of a deviation's reason, counted
            each time.
    """

    kind: Literal["count"]
    model: str
    args: Arguments = {}
    input: tuple[int, int, int] | None = None
    classes: int | None = None
    convention: Literal["multiply-add", "two operations", "thop", "mmdetection"] = "multiply-add"
    units: Literal["decimal", "binary"] = "decimal"
    variant: Arguments | None = None


class OracleCheck(Strict):
    """Compared with an independent implementation, in a test that fails beyond its tolerance."""

    kind: Literal["oracle"]
    test: TestName


class RunCheck(Strict):
    """Arm `better` beats arm `than`, or loses by less than `margin`; `criterion` says so before the first run."""

    kind: Literal["run"]
    protocol: str
    better: str
    than: str
    metric: str = "top1"
    margin: Annotated[float, Field(ge=0)] = 0.0
    criterion: str


class QuoteCheck(Strict):
    """Not attempted: why, and the command that would do it on the machine that `reason` names.

    There is no command for a network of other authors that is not built here.
    """

    kind: Literal["quote"]
    reason: str
    command: str | None = None


Check = Annotated[CountCheck | OracleCheck | RunCheck | QuoteCheck, Field(discriminator="kind")]


class Claim(Strict):
    """One number that the paper prints, or one ordering that it states.

    Attributes:
        id: unique in its paper.
        where: "Table 5"; a number that repeats names all its places, separated by commas.
        row: the row's name in the table.
        quantity: which column.
        says: exactly as printed.
        confidence: how it is known that the paper says so.
        check: how it is tested.
        reason: an explanation; mandatory where our count deviates.
        evidence: the test that shows what `reason` says.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]
    where: str
    row: str
    quantity: Counted | Measured
    says: str
    confidence: Confidence
    check: Check
    reason: str | None = None
    evidence: TestName | None = None

    @model_validator(mode="after")
    def _countable(self) -> Claim:
        if self.quantity not in ("ordering", "outputs") and not isinstance(self.check, OracleCheck):
            parse_printed(self.says)  # what a test shows may be a formula
        if isinstance(self.check, CountCheck) and self.quantity not in COUNTED:
            raise ValueError(f"`{self.quantity}` cannot be counted; count {', '.join(COUNTED)}")
        if isinstance(self.check, RunCheck) and self.quantity != "ordering":
            raise ValueError("a run decides an `ordering`, never a number: it is not the paper's experiment")
        return self


def load_claims(slug: str) -> list[Claim]:
    """The claims of a paper, checked against its params.yaml; see `read_claims`."""
    folder = ROOT / "papers" / slug
    return read_claims(folder / "claims.yaml", load_protocols(folder / "params.yaml"))


def read_claims(path: Path, protocols: Mapping[str, Protocol]) -> list[Claim]:
    """The claims of a claims.yaml.

    Raises:
        PapertrailError: an unknown key, a wrong value, an id that is there twice, a run of a protocol or an arm that
            params.yaml lacks.
    """
    raw = read_yaml(path)
    if not isinstance(raw, list) or not raw:
        raise PapertrailError(f"{path}: expected a list of claims")
    claims = [validated(Claim, value, f"{path}: claim {_name(value, number)}") for number, value in enumerate(raw)]
    for identity, times in Counter(claim.id for claim in claims).items():
        if times > 1:
            raise PapertrailError(f"{path}: {times} claims have the id `{identity}`; give each its own")
    for claim in claims:
        if isinstance(claim.check, RunCheck):
            _known_arms(path, claim.id, claim.check, protocols)
    return claims


def _name(value: object, number: int) -> str:
    return f"`{value['id']}`" if isinstance(value, dict) and "id" in value else f"number {number + 1}"


def _known_arms(path: Path, identity: str, check: RunCheck, protocols: Mapping[str, Protocol]) -> None:
    if check.protocol not in protocols:
        raise PapertrailError(
            f"{path}: claim `{identity}`: params.yaml has no protocol `{check.protocol}`; it has {', '.join(protocols)}"
        )
    arms = protocols[check.protocol].arms
    for arm in (check.better, check.than):
        if arm not in arms:
            raise PapertrailError(
                f"{path}: claim `{identity}`: protocol `{check.protocol}` has no arm `{arm}`; it has {', '.join(arms)}"
            )
