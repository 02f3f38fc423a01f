"""From claims.yaml to claims: each printed number, with its id, its places and its check."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import PapertrailError, nearest
from shared.files import ROOT, read_yaml
from shared.ledger.claims import (
    COUNTED,
    METRICS,
    ArithmeticCheck,
    Check,
    Claim,
    CountCheck,
    Explanation,
    MeasureCheck,
    OracleCheck,
    QuoteCheck,
)
from shared.ledger.exhibits import NAME, Column, Exhibit, Number, Ordering, Row, Stated
from shared.schema import validated
from shared.training.protocol import EMBEDDED, Protocol, load_protocols


def load_claims(slug: str) -> list[Claim]:
    """The claims of a paper, in its order, checked against its params.yaml; see `read_claims`."""
    folder = ROOT / "papers" / slug
    return read_claims(folder / "claims.yaml", load_protocols(folder / "params.yaml"))


def read_claims(path: Path, protocols: Mapping[str, Protocol]) -> list[Claim]:
    """The claims of papers/<slug>/claims.yaml, exhibit by exhibit: its rows, its orderings, its oracles.

    Raises:
        PapertrailError: an unknown key, a wrong value, an id that is there twice, a name that nothing has: of a
            column, an explanation, a protocol or an arm.
    """
    raw = read_yaml(path)
    if not isinstance(raw, list) or not raw:
        raise PapertrailError(f"{path}: expected a list of exhibits")
    exhibits = [validated(Exhibit, value, f"{path}: {_name(value, number)}") for number, value in enumerate(raw)]
    explanations: dict[str, Explanation] = {}
    for exhibit in exhibits:
        for name, why in exhibit.explanations.items():
            if name in explanations:
                raise PapertrailError(
                    f"{path}: `{exhibit.exhibit}`: explanations: there is another `{name}`; rename one"
                )
            explanations[name] = why
    file = File(path, protocols, explanations)
    claims = [claim for exhibit in exhibits for claim in file.claims(exhibit)]
    for identity, times in Counter(claim.id for claim in claims).items():
        if times > 1:
            raise PapertrailError(f"{path}: {times} claims have the id `{identity}`; give one of the rows an `id`")
    return claims


def _name(value: object, number: int) -> str:
    return f"`{value['exhibit']}`" if isinstance(value, dict) and "exhibit" in value else f"exhibit number {number + 1}"


@dataclass(frozen=True)
class File:
    """A claims.yaml, and what its exhibits refer to."""

    path: Path
    protocols: Mapping[str, Protocol]
    explanations: Mapping[str, Explanation]

    def claims(self, exhibit: Exhibit) -> Iterator[Claim]:
        """Of one exhibit."""
        short = re.fullmatch(r"([TF])(?:able|igure) (\w+)(?:\((\w)\))?", exhibit.exhibit)
        prefix = exhibit.id or ("".join(short.groups("")).lower() if short else _slug(exhibit.exhibit))
        filled = dict.fromkeys(key for row in exhibit.rows for key in row.says)
        self._known(f"`{exhibit.exhibit}`", "columns", exhibit.columns, filled)
        for row in exhibit.rows:
            yield from self._row(exhibit, prefix, row)
        for ordering in exhibit.orderings:
            yield from self._ordering(exhibit, ordering)
        for oracle in exhibit.oracles:
            yield self._claim(
                id=oracle.id, where=exhibit.exhibit, row=oracle.row, quantity="outputs", says=oracle.says,
                confidence="derived", check=OracleCheck(test=self._test(oracle.test)),
            )  # fmt: skip

    def _row(self, exhibit: Exhibit, prefix: str, row: Row) -> Iterator[Claim]:
        name = ".".join(filter(None, [prefix, _slug(row.row) if row.id is None else row.id]))
        also = row.also if isinstance(row.also, dict) else dict.fromkeys(row.also, tuple(row.says))
        self._known(f"`{name}`", "deviates", row.deviates, row.says)
        for place, keys in also.items():
            self._known(f"`{name}`", f"also: {place}", keys, row.says)
        for key, printed in row.says.items():
            number = printed if isinstance(printed, Number) else Number(says=printed)
            column = exhibit.columns.get(key, Column())
            stated = _narrowest(exhibit, row, column, number)
            quantity = stated.quantity or key
            identity = f"{name}.{key.replace('_', '-')}"
            check = self._check(identity, quantity, stated)
            tried = number if isinstance(check, CountCheck | ArithmeticCheck) else stated
            reason = self._text(identity, tried.reason)
            if isinstance(check, QuoteCheck) and check.arm is None and stated.model is not None:
                reason = reason or "The network is built here, the recipe of this number is not."
            yield self._claim(
                id=identity,
                where=", ".join([exhibit.exhibit, *(place for place, keys in also.items() if key in keys)]),
                row=f"{row.row}, {stated.row}" if stated.row else row.row,
                quantity=quantity,
                says=number.says,
                confidence=stated.confidence,
                check=check,
                reason=reason,
                evidence=tried.evidence and self._test(tried.evidence),
                deviates=self._explanation(identity, row.deviates.get(key)),
            )

    def _check(self, identity: str, quantity: str, stated: Column) -> Check:
        if stated.arithmetic:
            return ArithmeticCheck(test=self._test(stated.arithmetic))
        if quantity in COUNTED and stated.model is not None:
            keys = {"args", "input", "classes", "convention", "units"}
            return CountCheck(model=stated.model, **stated.model_dump(include=keys))
        if stated.arm is None:
            return QuoteCheck()
        protocol, _, arm = stated.arm.format(step=stated.step).partition("/")
        self._known_arm(identity, protocol, arm)
        if stated.data is not None and self.protocols[protocol].data != stated.data:
            data = self.protocols[protocol].data
            raise PapertrailError(
                f"{self.path}: claim `{identity}`: it needs `{stated.data}`, protocol `{protocol}` has `{data}`"
            )
        if quantity not in METRICS:
            return QuoteCheck(protocol=protocol, arm=arm)
        if stated.tolerance is None:
            raise PapertrailError(f"{self.path}: claim `{identity}`: `{stated.arm}` measures it; state a `tolerance`")
        measured = {"protocol": protocol, "arm": arm, "metric": stated.metric or METRICS[quantity]}
        convention = {"convention": stated.convention} if quantity == "macs" else {}
        fields = {**measured, "tolerance": stated.tolerance, **convention}
        return validated(MeasureCheck, fields, f"{self.path}: claim `{identity}`")

    def _ordering(self, exhibit: Exhibit, ordering: Ordering) -> Iterator[Claim]:
        keys = {"better", "than", "metric", "margin", "floor", "criterion"}
        stated = {
            "where": exhibit.exhibit,
            "row": ordering.row,
            "quantity": "ordering",
            "says": ordering.says,
            "confidence": ordering.confidence or exhibit.confidence,
        }
        if not ordering.protocols:
            reason = f"No protocol tests it. {ordering.reason}".strip()
            yield self._claim(id=ordering.id, **stated, check=QuoteCheck(), reason=reason)
        for protocol in ordering.protocols:
            identity = f"{ordering.id}.{protocol}"
            if protocol == EMBEDDED:
                raise PapertrailError(
                    f"{self.path}: claim `{identity}`: `{EMBEDDED}` shows that everything runs and decides nothing; "
                    "name another protocol"
                )
            for arm in (ordering.better, ordering.than):
                self._known_arm(identity, protocol, arm)
            check = {"kind": "run", "protocol": protocol, **ordering.model_dump(include=keys)}
            yield self._claim(id=identity, **stated, check=check, reason=ordering.reason)

    def _claim(self, **fields: object) -> Claim:
        return validated(Claim, fields, f"{self.path}: claim `{fields['id']}`")

    def _text(self, identity: str, reason: str) -> str:
        if re.fullmatch(NAME, reason) is None:
            return reason
        self._known(f"claim `{identity}`", "reason", [reason], self.explanations)
        return self.explanations[reason].reason

    def _explanation(self, identity: str, why: str | Explanation | None) -> Explanation | None:
        if isinstance(why, str):
            self._known(f"claim `{identity}`", "deviates", [why], self.explanations)
            why = self.explanations[why]
        if why is None or why.evidence is None:
            return why
        return why.model_copy(update={"evidence": self._test(why.evidence)})

    def _test(self, name: str) -> str:
        return name if "::" in name else f"tests/papers/{self.path.parent.name}/test_claims.py::{name}"

    def _known_arm(self, identity: str, protocol: str, arm: str) -> None:
        self._known(f"claim `{identity}`", "protocol", [protocol], self.protocols)
        self._known(f"claim `{identity}`", f"arm of `{protocol}`", [arm], self.protocols[protocol].arms)

    def _known(self, where: str, what: str, names: Iterable[str], known: Collection[str]) -> None:
        for name in names:
            if name not in known:
                raise PapertrailError(f"{self.path}: {where}: {what}: no `{name}`; {nearest(name, known)}")


def _narrowest(exhibit: Exhibit, row: Row, column: Column, number: Number) -> Column:
    """What holds of a number: of what is stated, the later of these wins, key by key."""
    found: dict[str, object] = {}
    for level, keys in ((exhibit, Stated), (row, Stated), (column, Column), (number, Column)):
        found |= {key: getattr(level, key) for key in level.model_fields_set & keys.model_fields.keys()}
    return Column.model_validate(found)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")
