from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.errors import PapertrailError
from shared.ledger.claims import ArithmeticCheck, CountCheck, MeasureCheck, OracleCheck, QuoteCheck, RunCheck
from shared.ledger.expand import read_claims
from shared.training.protocol import Protocol

Write = Callable[..., Path]
ROW = {"row": "VGG 16 (s=2)", "says": {"params": "15M", "top1": "93.6"}}
TABLE = {"exhibit": "Table 5", "confidence": "read", "rows": [ROW]}
ORDERING = {"id": "order.ghost", "row": "Ghost against plain", "says": "93.7 against 93.6", "protocols": ["small"],
            "better": "ghost", "than": "plain", "floor": {"top1": 20}, "criterion": "ghost is better"}  # fmt: skip


def table(**changes: Any) -> dict[str, Any]:
    return {**TABLE, **changes}


def row(**changes: Any) -> dict[str, Any]:
    return table(rows=[{**ROW, **changes}])


def test_a_row_becomes_a_claim_for_each_number(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    params, top1 = read_claims(claims_file(TABLE), protocols)
    assert (params.id, top1.id) == ("t5.vgg-16-s-2.params", "t5.vgg-16-s-2.top1")
    assert (params.where, params.row, params.quantity, params.says) == ("Table 5", "VGG 16 (s=2)", "params", "15M")
    assert params.check == top1.check == QuoteCheck()  # no model, no arm: a network that is not built here


@pytest.mark.parametrize(
    ("exhibit", "changes", "identity"),
    [
        ("Table 1(a)", {}, "t1a.x"),
        ("Figure 12", {}, "f12.x"),
        ("Section 4.1", {}, "section-4.1.x"),
        ("Table 5 (supplement)", {"id": "t5"}, "t5.x"),
    ],
)
def test_the_name_of_an_exhibit_begins_its_ids(
    exhibit: str, changes: dict[str, str], identity: str, claims_file: Write, protocols: dict[str, Protocol]
) -> None:
    lines = {"rows": [{"row": "Long name", "id": "x", "says": {"ap_s": "1.0"}}], **changes}
    (found,) = read_claims(claims_file(table(exhibit=exhibit, **lines)), protocols)
    assert found.id == f"{identity}.ap-s"


def test_a_model_is_counted_and_an_arm_measures_the_rest(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    lines = row(model="vgg16", args={"width": 0.5}, arm="full/plain", tolerance=0.5)
    params, top1 = read_claims(claims_file({**lines, "convention": "thop", "data": "cifar10"}), protocols)
    assert params.check == CountCheck(model="vgg16", args={"width": 0.5}, convention="thop")
    assert top1.check == MeasureCheck(protocol="full", arm="plain", metric="top1", tolerance=0.5)


def test_the_size_of_a_network_without_a_model_is_measured(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    """Pruning decides it."""
    params, _ = read_claims(claims_file(row(arm="full/tuned", tolerance=5)), protocols)
    assert params.check == MeasureCheck(protocol="full", arm="tuned", metric="params", tolerance=5)


def test_what_stands_nearer_to_a_number_wins(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    number = {"says": "93.6", "confidence": "recalled", "reason": "as remembered"}
    params, top1, top5 = read_claims(
        claims_file(
            table(
                reason="of the table",
                columns={"params": {"confidence": "computed"}, "top5": {"reason": "of the column"}},
                rows=[{"row": "A", "confidence": "derived", "reason": "of the row",
                       "says": {"params": "1M", "top1": number, "top5": "90.0"}}],
            )
        ),
        protocols,
    )  # fmt: skip
    assert [claim.confidence for claim in (params, top1, top5)] == ["computed", "recalled", "derived"]
    assert [claim.reason for claim in (params, top1, top5)] == ["of the row", "as remembered", "of the column"]


def test_a_column_names_its_quantity_its_step_and_its_test(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    columns = {
        "tuned.top1": {"quantity": "top1", "row": "fine-tuned", "step": "tuned"},
        "params_saved": {"arithmetic": "test_saved"},
    }
    line = {"row": "A", "arm": "full/{step}", "tolerance": 1, "says": {"tuned.top1": "93.1±0.2", "params_saved": "51"}}
    top1, saved = read_claims(claims_file(table(columns=columns, rows=[line])), protocols)
    assert (top1.id, top1.row, top1.quantity) == ("t5.a.tuned.top1", "A, fine-tuned", "top1")
    assert isinstance(top1.check, MeasureCheck) and top1.check.arm == "tuned"
    assert saved.check == ArithmeticCheck(test="tests/papers/paper/test_claims.py::test_saved")


def test_a_number_that_stands_in_several_places_is_one_claim(
    claims_file: Write, protocols: dict[str, Protocol]
) -> None:
    params, top1 = read_claims(claims_file(row(also={"Table 4": ["params", "top1"], "README": ["top1"]})), protocols)
    assert (params.where, top1.where) == ("Table 5, Table 4", "Table 5, Table 4, README")


def test_an_explanation_is_written_once_and_named(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    explanations = {"more": {"reason": "a layer more", "evidence": "tests/a.py::test_b"}, "far": {"reason": "far off"}}
    second = {"exhibit": "Table 6", "confidence": "read",
              "rows": [{**ROW, "model": "vgg16", "deviates": {"params": "more"}, "reason": "far"}]}  # fmt: skip
    _, _, params, top1 = read_claims(claims_file(table(explanations=explanations), second), protocols)
    assert params.deviates is not None and params.deviates.reason == "a layer more"
    assert params.deviates.evidence == "tests/a.py::test_b"
    assert (params.reason, top1.reason) == ("", "far off")  # why it was not tried is nothing that a count says


def test_an_explanation_has_a_name_of_its_own(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    first, second = (table(exhibit=name, explanations={"far": {"reason": name}}) for name in ("Table 5", "Table 6"))
    with pytest.raises(PapertrailError, match="`Table 6`: explanations: there is another `far`"):
        read_claims(claims_file(first, second), protocols)


def test_an_ordering_is_written_once_for_its_protocols(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    exhibit = table(rows=[], orderings=[{**ORDERING, "protocols": ["small", "full"], "margin": 0.5}])
    small, full = read_claims(claims_file(exhibit), protocols)
    assert (small.id, full.id) == ("order.ghost.small", "order.ghost.full")
    assert small.check == RunCheck(
        protocol="small", better="ghost", than="plain", margin=0.5, floor={"top1": 20}, criterion="ghost is better"
    )


def test_an_ordering_that_no_protocol_tests_stays_a_claim(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    (found,) = read_claims(claims_file(table(rows=[], orderings=[{**ORDERING, "protocols": []}])), protocols)
    assert (found.id, found.check, found.reason) == ("order.ghost", QuoteCheck(), "No protocol tests it.")


def test_an_oracle_has_a_short_form(claims_file: Write, protocols: dict[str, Protocol]) -> None:
    oracle = {"id": "oracle.timm", "row": "GhostNet", "says": "outputs equal timm's", "test": "test_timm"}
    (found,) = read_claims(claims_file(table(rows=[], oracles=[oracle])), protocols)
    assert found.check == OracleCheck(test="tests/papers/paper/test_claims.py::test_timm")
    assert (found.quantity, found.confidence) == ("outputs", "derived")


@pytest.mark.parametrize(
    ("exhibit", "named"),
    [
        (table(colour="red"), "`Table 5`: colour: unknown key"),
        (row(says={"top1": 93.6}), "says.top1"),
        (row(says={"topp1": "93.6"}), "topp1"),
        (table(confidence="sure"), "confidence"),
        (table(confidence=None), "confidence"),
        (table(columns={"macs": {}}), "columns: no `macs`; there are params, top1"),
        (row(deviates={"macs": "more"}), "deviates: no `macs`"),
        (row(also={"Table 4": ["macs"]}), "also: Table 4: no `macs`"),
        (row(deviates={"params": "more"}, model="vgg16"), r"claim `t5\.vgg.*params`: deviates: no `more`"),
        (row(reason="more"), "reason: no `more`"),
        (row(arm="smal/plain", tolerance=1), "protocol: no `smal`; did you mean small?"),
        (row(arm="small/plane", tolerance=1), "arm of `small`: no `plane`; did you mean plain?"),
        (row(arm="small/plain"), "state a `tolerance`"),
        (row(arm="small/plain", tolerance=1, data="imagenet"), "it needs `imagenet`, protocol `small` has `mnist5k`"),
        (table(rows=[ROW, ROW]), r"2 claims have the id `t5\.vgg"),
        (table(explanations={"a-reason": {"reason": "why"}}), "explanations.a-reason"),
        (table(orderings=[{**ORDERING, "better": "gohst"}]), "arm of `small`: no `gohst`"),
        (table(orderings=[{**ORDERING, "protocols": ["mini"]}]), "`mini` shows that everything runs"),
        (table(orderings=[{key: ORDERING[key] for key in ORDERING if key != "floor"}]), "floor"),
    ],
)
def test_what_is_wrong_is_named_with_its_file(
    exhibit: dict[str, Any], named: str, claims_file: Write, protocols: dict[str, Protocol]
) -> None:
    path = claims_file(exhibit)
    with pytest.raises(PapertrailError, match=named) as caught:
        read_claims(path, protocols)
    assert str(path) in str(caught.value)


def test_an_empty_file_is_refused(tmp_path: Path, protocols: dict[str, Protocol]) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text("", encoding="utf-8")
    with pytest.raises(PapertrailError, match="expected a list of exhibits"):
        read_claims(path, protocols)
