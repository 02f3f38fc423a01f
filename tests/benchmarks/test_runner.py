from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from shared.datasets import augment, rng
from shared.errors import UsageError
from tests.benchmarks import runner
from tests.benchmarks.runner import Contest, Ratio, Side, measure

NAMES = ["adder", "core", "g_ghost", "ghostnet", "latency", "pipeline"]


def steady(seconds: float, turns: list[str], name: str) -> Side:
    def side() -> float:
        turns.append(name)
        return seconds

    return side


def test_sides_take_turns_and_the_first_turn_is_not_counted() -> None:
    turns: list[str] = []
    warm = iter([100.0, 1.0, 2.0, 4.0])

    def ours() -> float:
        turns.append("a")
        return next(warm)

    sides: dict[str, Side] = {"a": ours, "b": steady(4.0, turns, "b"), "c": steady(1.0, turns, "c")}
    to_b, to_c = measure([Contest("what", sides, turns=3, goal=1.0)])
    assert turns == list("abc" * 4)
    assert (to_b.ratio, to_b.quartiles) == (2.0, (1.5, 3.0))  # of 4/1, 4/2 and 4/4
    assert (to_c.ratio, to_c.quartiles) == (0.5, (0.375, 0.75))
    assert (to_b.ours_median, to_b.other_median, to_b.turns) == (0.5, 0.2, 3)  # images per second


@pytest.mark.parametrize(("other", "outcome"), [(3.0, "met"), (2.9, "missed")])
def test_a_goal_is_met_from_its_own_value_on(other: float, outcome: str) -> None:
    sides = {"ours": steady(1.0, [], ""), "other": steady(other, [], "")}
    (ratio,) = measure([Contest("what", sides, turns=2, goal=3.0)])
    assert ratio.outcome == outcome


def test_a_goal_between_the_median_and_the_upper_quartile_is_within_the_spread() -> None:
    seconds = iter([1.0, 1.0, 1.0, 0.5])
    sides = {"ours": lambda: next(seconds), "other": steady(0.9, [], "")}
    (ratio,) = measure([Contest("what", sides, turns=3, goal=1.0)])
    assert ratio.ratio < 1.0 < ratio.quartiles[1]
    assert ratio.outcome == "within the spread"


def test_a_slow_contest_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SECONDS", 0)
    sides = {"ours": steady(1.0, [], ""), "other": steady(1.0, [], "")}
    (ratio,) = measure([Contest("what", sides, turns=50)])
    assert ratio.turns == runner.LEAST_TURNS
    assert ratio.outcome is None


def test_threads_are_set_for_a_contest_and_restored() -> None:
    before, seen = torch.get_num_threads(), []

    def side() -> float:
        seen.append(torch.get_num_threads())
        return 1.0

    measure([Contest("what", {"ours": side, "other": side}, turns=1, threads=before + 1)])
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=", ".join(NAMES)):
        next(runner.run(["speed"]))


def check(ratios: list[Ratio]) -> None:
    assert ratios
    for ratio in ratios:
        low, high = ratio.quartiles
        assert 0 < low <= ratio.ratio <= high
        assert ratio.ours_median > 0 and ratio.other_median > 0
        assert ratio.macs_ratio is None or ratio.macs_ratio > 1  # the other networks cost more


@pytest.mark.parametrize("name", sorted({*NAMES, "wide_resnet"} - {"core"}))
def test_benchmark_runs_at_a_tiny_size(name: str) -> None:
    check(measure(runner.load(name).contests(tiny=True)))


def test_core_and_bare_loop_train_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    core = runner.load("core")
    built = []
    watch = core.Clock.watch

    def remember(clock: object, model: torch.nn.Module) -> torch.nn.Module:
        built.append(model)
        return watch(clock, model)

    monkeypatch.setattr(core.Clock, "watch", remember)
    check(measure(core.contests(tiny=True)))
    core_weights, bare_weights = (model.state_dict() for model in built[:2])
    for name, weights in core_weights.items():
        torch.testing.assert_close(weights, bare_weights[name], rtol=1e-4, atol=1e-5)


def test_results_are_kept_beside_those_of_other_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bench_even.py").write_text(
        "from tests.benchmarks.runner import Contest\n"
        "def contests(tiny):\n"
        "    return [Contest('what', {'ours': lambda: 0.25, 'other': lambda: 0.5}, turns=2, goal=1.0)]\n"
    )
    (tmp_path / "results.json").write_text('{"core": {"ratios": []}}\n')
    monkeypatch.setattr(runner, "FOLDER", tmp_path)
    (result,) = runner.run([])
    kept = json.loads((tmp_path / "results.json").read_text())
    printed = json.loads(json.dumps(result))
    assert printed.pop("benchmark") == "even" and kept == {"core": {"ratios": []}, "even": printed}
    assert set(kept["even"]) == {"date", "code", "machine", "ratios"}
    assert kept["even"]["machine"]["cores"] >= 1
    (ratio,) = kept["even"]["ratios"]
    assert (ratio["ratio"], ratio["goal"], ratio["outcome"]) == (2.0, 1.0, "met")
    runner.show(result)
    assert "met" in capsys.readouterr().out


@pytest.fixture(scope="module")
def pipeline() -> ModuleType:
    return runner.load("pipeline")


def test_both_pipelines_do_the_same_to_an_image(pipeline: ModuleType) -> None:
    count, seed, epoch = 64, 0, 3
    split, index = pipeline.noise(count), torch.arange(count)
    cropped = augment.pad_crop_flip(split.images, index, pad=4, flip=True, seed=seed, epoch=epoch)
    ours = augment.normalise(augment.to_unit(cropped), pipeline.SPEC.mean, pipeline.SPEC.std)
    places = (rng.uniform(seed, epoch, index, 2, rng.CROP) * 9).long().tolist()
    mirrored = (rng.uniform(seed, epoch, index, 1, rng.FLIP) < 0.5).flatten().tolist()
    assert 0 < sum(mirrored) < count
    pillow = pipeline.PillowImages(split)
    theirs = torch.stack([pillow.augmented(i, *places[i], mirrored[i]) for i in range(count)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
