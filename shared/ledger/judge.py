"""The judge: from claims and evidence to verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from shared.errors import PapertrailError, nearest
from shared.files import ROOT
from shared.ledger.claims import ArithmeticCheck, Claim, CountCheck, MeasureCheck, OracleCheck, RunCheck, named_tests
from shared.ledger.counts import by_count
from shared.ledger.entry import Entry, Finding
from shared.ledger.expand import read_claims
from shared.ledger.runs import by_measure, by_run, not_attempted
from shared.training.protocol import Protocol, load_protocols


def judge(slug: str) -> list[Entry]:
    """Every claim of a paper with its verdict, in the order of claims.yaml; nothing is remembered between processes.

    Raises:
        PapertrailError: a claim that is malformed, whose count deviates without an explanation, or whose test is not
            there.
    """
    folder = ROOT / "papers" / slug
    protocols = load_protocols(folder / "params.yaml")
    return [judge_claim(slug, claim, protocols) for claim in read_claims(folder / "claims.yaml", protocols)]


def judge_claim(slug: str, claim: Claim, protocols: Mapping[str, Protocol]) -> Entry:
    """The verdict on one claim; see `judge`."""
    for test in named_tests(claim):
        _require_test(claim, test)
    check = claim.check
    kind: str = check.kind
    protocol: str | None = None
    if isinstance(check, CountCheck):
        found = by_count(slug, claim, check)
    elif isinstance(check, OracleCheck):
        found = Finding("within", "asserted by a test", claim.reason, f"pytest {check.test}")
    elif isinstance(check, ArithmeticCheck):
        found = Finding("consistent", "asserted by a test", claim.reason, f"pytest {check.test}")
    elif isinstance(check, RunCheck):
        protocol = check.protocol
        found = by_run(slug, claim, check, protocols[protocol])
    else:
        protocol = check.protocol
        plan = None if protocol is None else protocols[protocol]
        measured = by_measure(slug, claim, check, plan) if isinstance(check, MeasureCheck) and plan else None
        kind = "measure" if measured else "quote"
        found = measured or not_attempted(slug, claim, check, plan)
    evidence = claim.deviates.evidence if claim.deviates else claim.evidence
    return Entry(
        paper=slug,
        id=claim.id,
        where=claim.where,
        row=claim.row,
        quantity=claim.quantity,
        says=claim.says,
        ours=found.ours,
        check=kind,
        protocol=protocol,
        verdict=found.verdict,
        confidence=claim.confidence,
        reason=found.reason,
        command=found.command,
        evidence=evidence or "",
    )


def _require_test(claim: Claim, name: str) -> None:
    """A test that is not there proves nothing; that it passed is seen to by tests/evidence.py."""
    file, function = name.split("::")
    path = ROOT / file
    known = re.findall(r"^def (\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE) if path.exists() else []
    if function not in known:
        raise PapertrailError(f"claim `{claim.id}`: {file} has no test `{function}`; {nearest(function, known)}")
