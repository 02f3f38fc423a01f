"""The judge: from claims and evidence to verdicts."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import nn

from shared.builders import find_model
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT
from shared.ledger.claims import Arguments, Claim, CountCheck, OracleCheck, RunCheck, load_claims
from shared.ledger.evidence import REPEATED, arm_result
from shared.ledger.intervals import decide, welch
from shared.ledger.printed import Printed, parse_printed
from shared.measure import Count, count
from shared.measure.conventions import Tool, operations, parameters
from shared.training.recipe import Protocol, load_protocols

Verdict = Literal["exact", "within", "supported", "inconclusive", "deviates", "contradicted", "not attempted"]
VERDICTS: tuple[Verdict, ...] = (
    "exact",
    "within",
    "supported",
    "inconclusive",
    "deviates",
    "contradicted",
    "not attempted",
)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger: a claim, what was found here, and the verdict.

    `check` is the kind of check; `ours` is None where nothing was attempted; `command` is what anyone can type to see
    it, or empty where no command can do it.
    """

    paper: str
    id: str
    where: str
    row: str
    quantity: str
    says: str
    ours: str | None
    check: str
    protocol: str | None
    verdict: Verdict
    confidence: str
    reason: str
    command: str

    @property
    def places(self) -> list[str]:
        """The tables, figures and sections it stands in."""
        return self.where.split(", ")


def judge(slug: str) -> list[Entry]:
    """Every claim of a paper with its verdict, in the order of claims.yaml; nothing is remembered between processes.

    Raises:
        PapertrailError: a claim that is malformed, or whose count deviates without a reason.
    """
    protocols = load_protocols(ROOT / "papers" / slug / "params.yaml")
    return [judge_claim(slug, claim, protocols) for claim in load_claims(slug)]


def judge_claim(slug: str, claim: Claim, protocols: Mapping[str, Protocol]) -> Entry:
    """The verdict on one claim; see `judge`."""
    for test in filter(None, (claim.evidence, claim.check.test if isinstance(claim.check, OracleCheck) else None)):
        _require_test(claim, test)
    check = claim.check
    if isinstance(check, CountCheck):
        return _by_count(slug, claim, check)
    if isinstance(check, RunCheck):
        return _by_run(slug, claim, check, protocols[check.protocol])
    if isinstance(check, OracleCheck):
        ours = "asserted by a test"
        return _entry(slug, claim, "within", ours, claim.reason or "", f"pytest {check.test}")
    return _entry(slug, claim, "not attempted", None, check.reason, check.command or "")


def _by_count(slug: str, claim: Claim, check: CountCheck) -> Entry:
    printed = parse_printed(claim.says, binary=check.units == "binary")
    ours = _counted(slug, claim, check, check.args)
    reason = claim.reason or ""
    verdict: Verdict = "deviates"
    if claim.confidence == "digitised":
        if printed.is_read_from(ours):
            verdict = "within"
    elif printed.is_print_of(ours):
        verdict = "exact"
    if verdict == "deviates" and not reason:
        raise PapertrailError(
            f"{_file(slug)}: claim `{claim.id}`: ours is {printed.like(ours)}, the print says {claim.says}; "
            "give a `reason`"
        )
    if check.variant is not None:
        reason = f"{reason.removesuffix('.')}: {_variant(slug, claim, check, printed)}."
    if claim.evidence is not None:
        reason = f"{reason} Evidence: `{claim.evidence}`."
    return _entry(slug, claim, verdict, printed.like(ours), reason, _count_command(slug, check))


def _variant(slug: str, claim: Claim, check: CountCheck, printed: Printed) -> str:
    """What the variant counts; it must be what is printed, or it explains nothing."""
    assert check.variant is not None
    value = _counted(slug, claim, check, {**check.args, **check.variant})
    arguments = ", ".join(f"{name}={setting}" for name, setting in check.variant.items())
    if not printed.is_print_of(value):
        raise PapertrailError(
            f"{_file(slug)}: claim `{claim.id}`: the variant {arguments} gives {printed.like(value)}, which does not "
            f"explain {claim.says}"
        )
    return f"with {arguments} we count {printed.like(value)}"


def _counted(slug: str, claim: Claim, check: CountCheck, args: Arguments) -> int | Fraction:
    try:
        if check.convention == "thop" or check.convention == "mmdetection":
            counted = tool_count(slug, check.model, args, check.convention, check.input, check.classes)
            value: int | Fraction = getattr(counted, claim.quantity)
            return value
        found = count_model(slug, check.model, args, check.input, check.classes)
    except (TypeError, UsageError, ValueError) as error:
        raise PapertrailError(
            f"{_file(slug)}: claim `{claim.id}`: cannot build `{check.model}` with {args} ({error}); "
            f"see `papertrail models {slug}`"
        ) from error
    value = getattr(found, claim.quantity)
    return value * 2 if claim.quantity == "macs" and check.convention == "two operations" else value


def count_model(
    slug: str, model: str, args: Arguments, shape: tuple[int, int, int] | None = None, classes: int | None = None
) -> Count:
    """Count a network of a paper's MODELS, for the input and the classes it was made for when none are given."""
    return _count(slug, model, tuple(sorted(args.items())), shape, classes)


def tool_count(
    slug: str,
    model: str,
    args: Arguments,
    tool: Tool,
    shape: tuple[int, int, int] | None = None,
    classes: int | None = None,
) -> Count:
    """A network as a tool counts it (shared/measure/conventions.py): what it calls an operation stands for a MAC."""
    return _tool_count(slug, model, tuple(sorted(args.items())), tool, shape, classes)


Settings = tuple[tuple[str, bool | int | float | str], ...]


@functools.cache
def _count(slug: str, model: str, args: Settings, shape: tuple[int, int, int] | None, classes: int | None) -> Count:
    return count(*_built(slug, model, args, shape, classes))


@functools.cache
def _tool_count(
    slug: str, model: str, args: Settings, tool: Tool, shape: tuple[int, int, int] | None, classes: int | None
) -> Count:
    network, seen = _built(slug, model, args, shape, classes)
    return dataclasses.replace(
        count(network, seen), params=parameters(network, tool), macs=operations(network, seen, tool)
    )


def _built(
    slug: str, model: str, args: Settings, shape: tuple[int, int, int] | None, classes: int | None
) -> tuple[nn.Module, tuple[int, int, int]]:
    known = find_model(slug, model)
    with torch.device("meta"):
        network = known.build(**dict(args), classes=classes or known.classes)
    return network, shape or known.input


def _by_run(slug: str, claim: Claim, check: RunCheck, plan: Protocol) -> Entry:
    arms = (check.better, check.than)
    better, than = (arm_result(slug, check.protocol, plan, arm, check.metric) for arm in arms)
    reason = " ".join(filter(None, [f"Criterion: {check.criterion}", claim.reason]))
    verdict: Verdict
    if better is None or than is None:
        missing = " and ".join(arm for arm, found in zip(arms, (better, than), strict=True) if found is None)
        state = "there" if check.protocol == REPEATED else "pinned"
        verdict, ours = "not attempted", None
        reason = f"No run of {missing} under `{check.protocol}` is {state} yet. {reason}"
    elif better.std is None or than.std is None:
        verdict, ours = "inconclusive", f"{better.mean - than.mean:+.2f}"
        reason = f"One seed gives no interval. {reason}"
    else:
        difference = welch(list(better.values.values()), list(than.values.values()))
        verdict, ours = decide(difference, check.margin), str(difference)
    return _entry(slug, claim, verdict, ours, reason, _run_command(slug, check, plan))


def _entry(slug: str, claim: Claim, verdict: Verdict, ours: str | None, reason: str, command: str) -> Entry:
    return Entry(
        paper=slug,
        id=claim.id,
        where=claim.where,
        row=claim.row,
        quantity=claim.quantity,
        says=claim.says,
        ours=ours,
        check=claim.check.kind,
        protocol=claim.check.protocol if isinstance(claim.check, RunCheck) else None,
        verdict=verdict,
        confidence=claim.confidence,
        reason=reason,
        command=command,
    )


def _file(slug: str) -> Path:
    return ROOT / "papers" / slug / "claims.yaml"


def _require_test(claim: Claim, name: str) -> None:
    """A test that is not there proves nothing."""
    file, function = name.split("::")
    path = ROOT / file
    if not path.exists() or not re.search(rf"^def {function}\(", path.read_text(encoding="utf-8"), re.MULTILINE):
        raise PapertrailError(f"claim `{claim.id}`: there is no test {name}")


def _count_command(slug: str, check: CountCheck) -> str:
    words = [f"papertrail count {slug} {check.model}"]
    words += [f"--set {name}={value}" for name, value in check.args.items()]
    if check.input is not None:
        words.append(f"--input {','.join(map(str, check.input))}")
    if check.classes is not None:
        words.append(f"--classes {check.classes}")
    if check.convention in get_args(Tool):
        words.append(f"--tool {check.convention}")
    return " ".join(words)


def _run_command(slug: str, check: RunCheck, plan: Protocol) -> str:
    if check.protocol == REPEATED:
        return f"dvc repro papers/{slug}"
    arms = dict.fromkeys([*plan.lineage(check.better), *plan.lineage(check.than)])
    return " && ".join(f"python -m shared.{plan.module(arm)} papers/{slug} {check.protocol} {arm}" for arm in arms)
