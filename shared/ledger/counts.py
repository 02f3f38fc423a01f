"""What is counted: networks, and the verdicts on claims that say how large they are."""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction
from typing import get_args

import torch
from torch import nn

from shared.builders import build, find_model
from shared.errors import PapertrailError, UsageError
from shared.ledger.claims import Arguments, Claim, CountCheck
from shared.ledger.entry import Finding
from shared.ledger.printed import Printed, parse_printed
from shared.measure import Count, count
from shared.measure.conventions import Tool, operations, parameters


def by_count(slug: str, claim: Claim, check: CountCheck) -> Finding:
    """Whether our count rounds to the print, or is as near as a reading off a figure can be.

    Raises:
        PapertrailError: a network that cannot be built; a count that deviates and is not explained, or the reverse.
    """
    printed = parse_printed(claim.says, binary=check.units == "binary")
    ours = _counted(slug, claim, check, check.args)
    read_off = claim.confidence == "digitised"
    agrees = printed.is_read_from(ours) if read_off else printed.is_print_of(ours)
    if agrees == (claim.deviates is not None):
        remedy = "remove its `deviates`" if agrees else "explain it under `deviates`"
        raise PapertrailError(
            f"papers/{slug}/claims.yaml: claim `{claim.id}`: ours is {printed.like(ours)}, the print says "
            f"{claim.says}; {remedy}"
        )
    command = _count_command(slug, check)
    if claim.deviates is None:
        return Finding("consistent" if read_off else "exact", printed.like(ours), claim.reason, command)
    reason = claim.deviates.reason
    if claim.deviates.variant is not None:
        variant = _variant(slug, claim, check, claim.deviates.variant, printed)
        reason = f"{reason.removesuffix('.')}: {variant}."
    return Finding("deviates", printed.like(ours), reason, command)


def _variant(slug: str, claim: Claim, check: CountCheck, variant: Arguments, printed: Printed) -> str:
    """What the variant counts; it must be what is printed, or it explains nothing."""
    value = _counted(slug, claim, check, {**check.args, **variant})
    arguments = ", ".join(f"{name}={setting}" for name, setting in variant.items())
    if not printed.is_print_of(value):
        raise PapertrailError(
            f"papers/{slug}/claims.yaml: claim `{claim.id}`: the variant {arguments} gives {printed.like(value)}, "
            f"which does not explain {claim.says}"
        )
    return f"with {arguments} we count {printed.like(value)}"


def _counted(slug: str, claim: Claim, check: CountCheck, args: Arguments) -> int | Fraction:
    try:
        if check.convention in ("thop", "mmdetection", "mmcv"):
            counted = tool_count(slug, check.model, args, check.convention, check.input, check.classes)
            value: int | Fraction = getattr(counted, claim.quantity)
            return value
        found = count_model(slug, check.model, args, check.input, check.classes)
    except (TypeError, UsageError, ValueError) as error:
        raise PapertrailError(
            f"papers/{slug}/claims.yaml: claim `{claim.id}`: cannot build `{check.model}` with {args} ({error}); "
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
        network = build(slug, model, dict(args), classes or known.classes, (shape or known.input)[0])
    return network, shape or known.input


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
