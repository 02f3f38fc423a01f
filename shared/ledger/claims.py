"""Claims and their checks: what the ledger judges. papers/<slug>/claims.yaml is expanded into them (expand.py)."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from shared.ledger.printed import parse_printed
from shared.schema import Strict

Counted = Literal["params", "macs", "activations", "adder_taps", "multiplications", "additions", "energy_mj"]
Measured = Literal[
    "top1",
    "top5",
    "error",
    "params_saved",
    "macs_saved",
    "memory_mb",
    "memory_gb",
    "seconds",
    "ap",
    "ap50",
    "ap75",
    "ap_s",
    "ap_m",
    "ap_l",
    "map50",
    "ar",
    "ar_s",
    "ar_m",
    "ar_l",
    "miou",
    "f_measure",
    "mae",
    "latency_ms",
    "fps",
    "mse",
    "ordering",
    "outputs",
]
Quantity = Counted | Measured
Confidence = Literal["read", "read_secondary", "digitised", "recalled", "computed", "derived"]
Convention = Literal["multiply-add", "two operations", "thop", "mmdetection", "mmcv"]
Units = Literal["decimal", "binary"]
COUNTED = get_args(Counted)

# What a run measures, and the metric that tells it; the rest is a fact about a machine, or no number.
METRICS = {quantity: quantity for quantity in ("params", "macs", "top1", "top5", "map50")}
METRICS |= {quantity: quantity for quantity in ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l")}
METRICS |= {"error": "top1", "params_saved": "params", "macs_saved": "macs"}

Arguments = dict[str, bool | int | float | str]
TestName = Annotated[str, Field(pattern=r"^tests/.+\.py::test_\w+$")]
ShortTest = Annotated[str, Field(pattern=r"^(tests/.+\.py::)?test_\w+$")]  # of tests/papers/<slug>/test_claims.py


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
    """

    kind: Literal["count"] = "count"
    model: str
    args: Arguments = {}
    input: tuple[int, int, int] | None = None
    classes: int | None = None
    convention: Convention = "multiply-add"
    units: Units = "decimal"


class OracleCheck(Strict):
    """Our outputs equal an independent implementation's, in a test that fails beyond its tolerance."""

    kind: Literal["oracle"] = "oracle"
    test: TestName


class ArithmeticCheck(Strict):
    """It follows from other printed numbers, or from counts, as a test shows."""

    kind: Literal["arithmetic"] = "arithmetic"
    test: TestName


class MeasureCheck(Strict):
    """The paper's own recipe on the paper's own data: an arm of a protocol.

    Attributes:
        metric: of the arm, which tells the quantity.
        tolerance: how far the mean over the seeds may lie from the print: per cent of it for what is counted (a pruned
            network's parameters), its own unit (points, as a rule) for the rest.
        convention: how the paper counts MACs; a tool's own rules cannot be applied to a run.
    """

    kind: Literal["measure"] = "measure"
    protocol: str
    arm: str
    metric: str
    tolerance: Annotated[float, Field(gt=0)]
    convention: Literal["multiply-add", "two operations"] = "multiply-add"


class RunCheck(Strict):
    """Arm `better` beats arm `than`, or loses by less than `margin`; `criterion` says so before the first run.

    Attributes:
        floor: by metric, the least mean that both arms must reach: what a network that learned nothing would score,
            with room.
    """

    kind: Literal["run"] = "run"
    protocol: str
    better: str
    than: str
    metric: str = "top1"
    margin: Annotated[float, Field(ge=0)] = 0.0
    floor: Annotated[dict[str, float], Field(min_length=1)]
    criterion: str


class QuoteCheck(Strict):
    """Not attempted, and the claim's reason says why; `protocol` is the one that would tell, if there is one."""

    kind: Literal["quote"] = "quote"
    protocol: str | None = None
    arm: str | None = None


Check = Annotated[
    CountCheck | OracleCheck | ArithmeticCheck | MeasureCheck | RunCheck | QuoteCheck, Field(discriminator="kind")
]


class Explanation(Strict):
    """Why our count is not what is printed.

    Attributes:
        reason: the explanation, or that there is none.
        variant: arguments under which the count is what is printed; it is counted each time.
        evidence: the test that shows what `reason` says.
    """

    reason: str
    variant: Arguments | None = None
    evidence: ShortTest | None = None


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
        reason: why it is not attempted, or what else is to know.
        evidence: the test that shows what `reason` says.
        deviates: where our count is not the print.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9]+([.-][a-z0-9]+)*$")]
    where: str
    row: str
    quantity: Quantity
    says: str
    confidence: Confidence
    check: Check
    reason: str = ""
    evidence: TestName | None = None
    deviates: Explanation | None = None

    @model_validator(mode="after")
    def _checkable(self) -> Claim:
        if self.quantity not in ("ordering", "outputs") and not isinstance(self.check, ArithmeticCheck):
            parse_printed(self.says)  # what a test shows may be a formula
        if isinstance(self.check, CountCheck) and self.quantity not in COUNTED:
            raise ValueError(f"`{self.quantity}` cannot be counted; count {', '.join(COUNTED)}")
        if isinstance(self.check, RunCheck) and self.quantity != "ordering":
            raise ValueError("a run decides an `ordering`, never a number: it is not the paper's experiment")
        if self.deviates is not None and not isinstance(self.check, CountCheck):
            raise ValueError("only a count deviates: it needs a `model`")
        return self


def named_tests(claim: Claim) -> list[str]:
    """The tests that a claim rests on, as pytest names them."""
    checked = claim.check.test if isinstance(claim.check, OracleCheck | ArithmeticCheck) else None
    explained = claim.deviates.evidence if claim.deviates else None
    return [name for name in (checked, claim.evidence, explained) if name is not None]
