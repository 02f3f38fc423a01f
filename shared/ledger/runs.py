"""What runs decide: orderings by an interval, and the paper's own numbers by a tolerance."""

from __future__ import annotations

import statistics
from fractions import Fraction

from shared import datasets
from shared.ledger.claims import COUNTED, Claim, MeasureCheck, QuoteCheck, RunCheck
from shared.ledger.counts import count_model
from shared.ledger.entry import Finding, Verdict
from shared.ledger.evidence import ArmResult, arm_result
from shared.ledger.intervals import decide, welch
from shared.ledger.printed import parse_printed
from shared.training.protocol import Protocol, input_shape


def by_run(slug: str, claim: Claim, check: RunCheck, plan: Protocol) -> Finding:
    """Whether the interval of the difference decides an ordering; never below the floor."""
    arms = (check.better, check.than)
    better, than = (arm_result(slug, check.protocol, plan, arm, check.metric) for arm in arms)
    command = _train_command(slug, check.protocol, plan, *arms)
    reason = " ".join(filter(None, [f"Criterion: {check.criterion}", claim.reason]))
    if better is None or than is None:
        missing = " and ".join(arm for arm, found in zip(arms, (better, than), strict=True) if found is None)
        reason = f"No run of {missing} under `{check.protocol}` is pinned yet. {reason}"
        return Finding("not attempted", None, reason, command)
    if better.std is None or than.std is None:
        ours = f"{better.mean - than.mean:+.2f}"
        return Finding("inconclusive", ours, f"One seed gives no interval. {reason}", command)
    difference = welch(list(better.values.values()), list(than.values.values()))
    dead = _below_the_floor(slug, check, plan)
    if dead:
        return Finding("inconclusive", str(difference), f"{dead} {reason}", command)
    if difference.low == difference.high:
        constant = "Neither arm's seeds differ, so that there is no spread to judge the difference by."
        return Finding("inconclusive", str(difference), f"{constant} {reason}", command)
    return Finding(decide(difference, check.margin), str(difference), reason, command)


def _below_the_floor(slug: str, check: RunCheck, plan: Protocol) -> str:
    """Which arms learned too little for their difference to mean anything, or nothing.

    An arm that goes on from a training that learned nothing is no better: the arms that were trained on the way count
    too. One that only prunes counts where it is compared itself, since what is cut may be at chance until it is tuned.
    """
    judged = [
        one
        for arm in (check.better, check.than)
        for one in plan.lineage(arm)
        if one == arm or plan.arms[one].prune is None
    ]
    dead = []
    for metric, least in check.floor.items():
        for arm in dict.fromkeys(judged):
            found = arm_result(slug, check.protocol, plan, arm, metric)
            if found is not None and found.mean < least:
                dead.append(f"{arm} has a mean {metric} of {found.mean:.2f}, below the floor of {least:g}.")
    return " ".join(dead)


def by_measure(slug: str, claim: Claim, check: MeasureCheck, plan: Protocol) -> Finding | None:
    """Whether the paper's own recipe gives the paper's number; None while no run of it is pinned."""
    found = arm_result(slug, check.protocol, plan, check.arm, check.metric)
    if found is None:
        return None
    printed = parse_printed(claim.says)
    values = _in_the_papers_terms(slug, claim.quantity, check, plan, found)
    mean = statistics.fmean(values)
    counted = claim.quantity in COUNTED
    slack = float(printed.value) * check.tolerance / 100 if counted else check.tolerance
    verdict: Verdict = "reproduced" if abs(mean - float(printed.value)) <= slack else "not reproduced"
    ours = printed.like(Fraction(mean))
    if len(values) > 1 and not counted:
        ours = f"{ours} ± {statistics.stdev(values):.2f}"
    unit = "% of the print" if counted else "of the print's unit"
    seeds = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
    reason = f"The mean over {seeds} of `{check.protocol}`/`{check.arm}`; tolerance: {check.tolerance:g} {unit}."
    command = _train_command(slug, check.protocol, plan, check.arm)
    return Finding(verdict, ours, " ".join(filter(None, [reason, claim.reason])), command)


def _in_the_papers_terms(
    slug: str, quantity: str, check: MeasureCheck, plan: Protocol, found: ArmResult
) -> list[float]:
    """A run's metric as the paper states it: an error, not an accuracy; what was saved, not what is left."""
    values = list(found.values.values())
    if quantity == "error":
        return [100 - value for value in values]
    if quantity in ("params_saved", "macs_saved"):
        origin = plan.origin(check.arm)
        classes = datasets.spec(plan.data).classes
        whole = getattr(
            count_model(slug, origin.builder, origin.args, input_shape(plan, check.arm), classes), check.metric
        )
        return [100 * (1 - value / whole) for value in values]
    if quantity == "macs" and check.convention == "two operations":
        return [2 * value for value in values]
    return values


def not_attempted(slug: str, claim: Claim, check: MeasureCheck | QuoteCheck, plan: Protocol | None) -> Finding:
    """Why not, and where an arm of a protocol would tell, what that needs and how to start it."""
    if check.protocol is None or check.arm is None or plan is None:
        return Finding("not attempted", None, claim.reason or "A network of other authors, which is not built here.")
    needs = f", and needs {plan.needs}" if plan.needs else ""
    reason = f"Not run: the recipe is here (`{check.protocol}` in params.yaml){needs}."
    command = _train_command(slug, check.protocol, plan, check.arm)
    return Finding("not attempted", None, " ".join(filter(None, [claim.reason, reason])), command)


def _train_command(slug: str, protocol: str, plan: Protocol, *arms: str) -> str:
    """What trains and evaluates one arm; or all of the protocol, when it takes others."""
    if len(arms) == 1 and not plan.arms[arms[0]].continues:
        return " && ".join(f"papertrail {verb} {slug} {protocol} {arms[0]}" for verb in ("train", "evaluate"))
    return f"papertrail train {slug} {protocol} --all"
