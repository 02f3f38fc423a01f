from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shared.errors import PapertrailError
from shared.files import write_json
from shared.ledger import Entry, evidence
from shared.training.recipe import Protocol

Judge = Callable[..., Entry]
COUNT = {"kind": "count", "model": "vgg16"}  # 14,724,042 parameters, 313.2 M MACs
RUN = {
    "kind": "run",
    "protocol": "mini",
    "better": "ghost",
    "than": "plain",
    "margin": 1.0,
    "criterion": "at most one point worse",
}
ORDERING = {"quantity": "ordering", "says": "ghost is not worse"}


def test_a_count_that_rounds_to_the_print_is_exact(verdict: Judge) -> None:
    entry = verdict(COUNT)
    assert (entry.verdict, entry.ours, entry.command) == ("exact", "14.72M", "papertrail count ghostnet vgg16")


def test_a_count_that_does_not_needs_a_reason(verdict: Judge) -> None:
    with pytest.raises(PapertrailError, match=r"`t1\.a`: ours is 14\.724M, the print says 15\.0M; give a `reason`"):
        verdict(COUNT, says="15.0M")
    entry = verdict(COUNT, says="15.0M", reason="a layer more")
    assert (entry.verdict, entry.ours, entry.reason) == ("deviates", "14.724M", "a layer more")


def test_a_variant_is_counted_and_has_to_explain_the_print(verdict: Judge) -> None:
    entry = verdict({**COUNT, "variant": {"hidden": True}}, says="15.0M", reason="A layer more.")
    assert entry.reason == "A layer more: with hidden=True we count 14.987M."
    with pytest.raises(PapertrailError, match=r"the variant width=0\.5 gives 3\.\d+M, which does not explain 15\.0M"):
        verdict({**COUNT, "variant": {"width": 0.5}}, says="15.0M", reason="narrower")


def test_a_number_read_off_a_figure_is_never_exact(verdict: Judge) -> None:
    figure = {"quantity": "macs", "confidence": "digitised"}
    assert verdict(COUNT, says="313M", **figure).verdict == "within"
    assert verdict(COUNT, says="314M", **figure).verdict == "within"
    assert verdict(COUNT, says="315M", reason="far off", **figure).verdict == "deviates"


def test_two_operations_for_a_multiply_add(verdict: Judge) -> None:
    check = {**COUNT, "convention": "two operations"}
    assert verdict(check, quantity="macs", says="626M").verdict == "exact"


def test_as_a_tool_counts(verdict: Judge) -> None:
    """VGG-16 has 313.2 M multiply-adds; thop adds normalisation, activation and pooling."""
    entry = verdict({**COUNT, "convention": "thop"}, quantity="macs", says="315M")
    assert (entry.verdict, entry.ours) == ("exact", "314.65M")
    assert entry.command == "papertrail count ghostnet vgg16 --tool thop"
    assert verdict({**COUNT, "convention": "thop"}, says="14.72M").verdict == "exact"


def test_binary_units(verdict: Judge) -> None:
    """14,724,042 parameters are 14.04 times 2^20."""
    entry = verdict({**COUNT, "units": "binary"}, says="14.04M")
    assert (entry.verdict, entry.ours) == ("exact", "14.0419M")


def test_another_input_and_other_classes(verdict: Judge) -> None:
    entry = verdict({**COUNT, "input": [3, 64, 64], "classes": 100}, quantity="macs", says="1.3G")
    assert (entry.verdict, entry.ours) == ("exact", "1.253G")
    assert entry.command.endswith("--input 3,64,64 --classes 100")


@pytest.mark.parametrize("check", [{**COUNT, "model": "vgg61"}, {**COUNT, "args": {"depth": 3}}])
def test_a_network_that_cannot_be_built_is_named(verdict: Judge, check: dict[str, Any]) -> None:
    with pytest.raises(PapertrailError, match=r"`t1\.a`: cannot build `vgg"):
        verdict(check)


def test_what_is_not_attempted_keeps_its_reason_and_command(verdict: Judge) -> None:
    entry = verdict({"kind": "quote", "reason": "needs a phone", "command": "do it"}, quantity="top1", says="93.6")
    assert (entry.verdict, entry.ours, entry.reason, entry.command) == ("not attempted", None, "needs a phone", "do it")


def test_an_oracle_names_a_test_that_exists(verdict: Judge) -> None:
    outputs = {"quantity": "outputs", "says": "equal"}
    here = "tests/shared/ledger/test_judge.py::test_an_oracle_names_a_test_that_exists"
    entry = verdict({"kind": "oracle", "test": here}, **outputs)
    assert (entry.verdict, entry.command) == ("within", f"pytest {here}")
    with pytest.raises(PapertrailError, match="there is no test"):
        verdict({"kind": "oracle", "test": f"{here}_not"}, **outputs)
    with pytest.raises(PapertrailError, match="there is no test"):
        verdict(COUNT, evidence="tests/nowhere.py::test_x")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write the metrics of `mini` runs."""
    monkeypatch.setattr(evidence, "ROOT", tmp_path)

    def write(**arms: list[float]) -> None:
        for arm, values in arms.items():
            seeds = {str(seed): value for seed, value in enumerate(values)}
            file = tmp_path / "papers/ghostnet/runs/mini" / arm / "metrics.json"
            write_json(file, {"top1": {"mean": 0, "std": 0, "seeds": seeds}})

    return write


@pytest.mark.parametrize(
    ("ghost", "expected"),
    [
        ([93.0, 93.1, 92.9], "supported"),
        ([92.5, 92.6, 92.4], "supported"),  # worse, but by less than the margin
        ([90.0, 90.1, 89.9], "contradicted"),
        ([91.0, 92.0, 93.0], "inconclusive"),
        ([95.0], "inconclusive"),
    ],
)
def test_runs_decide_an_ordering(ghost: list[float], expected: str, runs: Callable[..., None], verdict: Judge) -> None:
    runs(ghost=ghost, plain=[93.0, 93.1, 92.9])
    entry = verdict(RUN, **ORDERING)
    assert (entry.verdict, entry.protocol, entry.command) == (expected, "mini", "dvc repro papers/ghostnet")
    assert "at most one point worse" in entry.reason


def test_without_runs_nothing_is_decided(runs: Callable[..., None], verdict: Judge) -> None:
    runs(plain=[93.0, 93.1])
    entry = verdict(RUN, **ORDERING)
    assert (entry.verdict, entry.ours) == ("not attempted", None)
    assert entry.reason.startswith("No run of ghost under `mini` is there yet.")
    small = verdict({**RUN, "protocol": "small"}, **ORDERING)
    assert small.command == (
        "python -m shared.training papers/ghostnet small ghost && python -m shared.training papers/ghostnet small plain"
    )


def test_metrics_without_the_metric_are_named(runs: Callable[..., None], verdict: Judge) -> None:
    runs(plain=[1.0], ghost=[1.0])
    with pytest.raises(PapertrailError, match=r"metrics\.json: no seeds of `top3`"):
        verdict({**RUN, "metric": "top3"}, **ORDERING)


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocols: dict[str, Protocol]) -> Callable[..., None]:
    """Pin cards of the protocol `small`: only what the ledger reads of them."""
    monkeypatch.setattr(evidence, "ROOT", tmp_path)
    cards: dict[str, SimpleNamespace] = {}
    monkeypatch.setattr(evidence, "read_card", lambda path: cards[path.stem])

    def pin(arm: str, seed: int, top1: float, **changes: Any) -> None:
        plan = protocols["small"]
        card = {
            "name": f"{arm}-small-{seed}",
            "protocol": "small",
            "arm": arm,
            "model": plan.arms[arm].builder,
            "args": plan.arms[arm].args,
            "data": plan.data,
            "recipe": plan.recipe.model_dump(mode="json"),
            "seed": seed,
            "metrics": {"top1": top1},
            "supersedes": None,
            **changes,
        }
        cards[card["name"]] = SimpleNamespace(**card)
        write_json(tmp_path / "papers/ghostnet/checkpoints" / f"{card['name']}.json", {})

    return pin


def test_other_protocols_are_judged_by_pinned_cards(
    pinned: Callable[..., None], protocols: dict[str, Protocol]
) -> None:
    pinned("plain", 0, 90.0)
    pinned("plain", 1, 91.0)
    pinned("plain", 2, 10.0, protocol="mini")
    pinned("plain", 0, 92.0, name="plain-small-0b", supersedes="plain-small-0")
    found = evidence.arm_result("ghostnet", "small", protocols["small"], "plain")
    assert found is not None and found.values == {0: 92.0, 1: 91.0}
    assert evidence.arm_result("ghostnet", "small", protocols["small"], "ghost") is None


def test_what_pruning_found_is_no_argument_that_params_yaml_states(
    pinned: Callable[..., None], protocols: dict[str, Protocol]
) -> None:
    plan = protocols["small"].model_dump(exclude_defaults=True)
    plan["arms"]["plain"]["args"] = {"gates": True, "width": 0.5}
    plan["arms"]["cut"] = {"of": "plain", "prune": {"by": "gate"}}
    protocols["small"] = Protocol.model_validate(plan)
    pinned(
        "cut", 0, 80.0, model=plan["arms"]["plain"]["builder"], args={"width": 0.5, "gates": False, "branches": "1-0"}
    )
    found = evidence.arm_result("ghostnet", "small", protocols["small"], "cut")
    assert found is not None and found.values == {0: 80.0}
    pinned("cut", 1, 80.0, model=plan["arms"]["plain"]["builder"], args={"width": 0.25, "branches": "1-0"})
    with pytest.raises(PapertrailError, match="its args is not what"):
        evidence.arm_result("ghostnet", "small", protocols["small"], "cut")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "plain-small-0b"}, "seed 0 of small/plain is pinned twice"),
        ({"seed": 1, "args": {"width": 0.5}}, "its args is not what params.yaml states"),
        ({"seed": 1, "data": "cifar10"}, "its data is not"),
        ({"seed": 1, "recipe": {}}, "its recipe is not"),
        ({"seed": 1, "metrics": {"loss": 1.0}}, "no metric `top1`; it has loss"),
    ],
)
def test_a_card_that_is_no_evidence_is_refused(
    changes: dict[str, Any], named: str, pinned: Callable[..., None], protocols: dict[str, Protocol]
) -> None:
    pinned("plain", 0, 90.0)
    pinned("plain", top1=91.0, **{"seed": 0, "name": "plain-small-1", **changes})
    with pytest.raises(PapertrailError, match=named):
        evidence.arm_result("ghostnet", "small", protocols["small"], "plain")
