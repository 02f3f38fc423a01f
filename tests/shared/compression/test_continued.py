"""Chains of arms: what each begins with, what it is allowed to change, and what its record says."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from shared.builders import build
from shared.compression import start
from shared.compression.continued import ContinuedRun, continued, stretched, untrained
from shared.errors import PapertrailError, UsageError
from shared.files import read_json, write_json
from shared.measure import count
from shared.training import arms
from shared.training.classification import ClassificationRecipe
from shared.training.fit import ClassificationRun
from shared.training.protocol import Protocol
from shared.training.recipe import Schedule
from shared.training.run import finished, run_of, train_run
from shared.weights.published import Published
from shared.weights.storage import fill, load_weights

PAPER, NAME, WIDTH = "network_slimming", "tiny", 0.0625
RECIPE: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 100,
    "optimiser": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
    "method": {"name": "slimming", "penalty": 0.01},
}
ARMS: dict[str, Any] = {
    "base": {"builder": "vgg19", "args": {"width": WIDTH}},
    "narrow": {"of": "base", "prune": {"by": "scale", "ratio": 0.5}},
    "tuned": {"of": "narrow"},
    "scratch": {"of": "narrow", "weights": "random", "budget": "macs"},
    "ticket": {"of": "narrow", "weights": "initial"},
    "kept": {"of": "base", "prune": {"by": "scale", "ratio": 0.5, "shapes": "kept"}},
    "kept-tuned": {"of": "kept"},
    "kept-anew": {"of": "kept", "weights": "random"},
    "sparse": {"of": "base", "prune": {"by": "magnitude", "ratio": 0.75}},
    "sparse-tuned": {"of": "sparse"},
    "sparse-anew": {"of": "sparse", "weights": "random"},
    "sparse-ticket": {"of": "sparse-tuned", "weights": "initial"},
}


def plan(**recipe: Any) -> Protocol:
    return Protocol.model_validate(
        {
            "what": "seconds on the embedded digits",
            "data": "mnist5k",
            "arms": ARMS,
            "recipe": RECIPE | recipe,
            "trainer": {"accelerator": "cpu"},
        },
        context={"paper": PAPER},
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The arms that others continue, made once."""
    folder = tmp_path_factory.mktemp("runs")
    train_run(ClassificationRun(PAPER, NAME, plan(), "base", 0), seed_folder(folder, "base"))
    for arm in ("narrow", "tuned", "kept", "kept-tuned", "sparse", "sparse-tuned"):
        train_run(starting(folder, arm), seed_folder(folder, arm))
    return folder


def seed_folder(runs: Path, arm: str) -> Path:
    return runs / NAME / arm / "seeds" / "0"


def starting(runs: Path, arm: str) -> ContinuedRun:
    return continued(PAPER, NAME, plan(), arm, 0, runs)


def result(runs: Path, arm: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    folder = seed_folder(runs, arm)
    record = read_json(folder / "run.json")
    return record, load_weights(folder / "weights.safetensors", record["sha256"])


def measured(runs: Path, arm: str) -> dict[str, float]:
    run, folder = starting(runs, arm), seed_folder(runs, arm)
    return run.evaluate(finished(run, folder)[1], folder)


def test_pruning_trains_nothing_and_leaves_a_network_that_its_record_can_build(runs: Path) -> None:
    base, _ = result(runs, "base")
    record, state = result(runs, "narrow")
    assert (record["epochs"], record["curves"]) == (0, []) and record["plan"]["model"] == "vgg19"
    widths = [int(width) for width in record["args"]["widths"].split("-")]
    full = build(PAPER, "vgg19", {"width": WIDTH}, 10, 1)
    assert len(widths) == 16 and sum(widths) < 0.6 * sum(
        dict(full.named_modules())[n].num_features for n in full.prunable
    )
    fill(build(PAPER, "vgg19", record["args"], 10, 1), state, runs)
    assert record["plan"]["start"] == {"arm": "base", "sha256": base["sha256"]}
    assert measured(runs, "narrow")["params"] == sum(
        value.numel() for name, value in state.items() if not counts_nothing(name)
    )


def counts_nothing(name: str) -> bool:
    return name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")


def test_tuning_begins_with_what_pruning_left(runs: Path) -> None:
    _, pruned = result(runs, "narrow")
    begun = starting(runs, "tuned").build().state_dict()
    assert all(torch.equal(begun[name], tensor) for name, tensor in pruned.items())
    record, tuned = result(runs, "tuned")
    assert record["args"]["widths"] == result(runs, "narrow")[0]["args"]["widths"]
    assert record["epochs"] == 1 and any(not torch.equal(tuned[name], tensor) for name, tensor in pruned.items())


def test_scratch_has_the_structure_new_weights_and_the_same_compute(runs: Path) -> None:
    run, narrow = starting(runs, "scratch"), measured(runs, "narrow")
    begun, inherited = run.build().state_dict(), starting(runs, "tuned").build().state_dict()
    assert {name: value.shape for name, value in begun.items()} == {name: v.shape for name, v in inherited.items()}
    assert not torch.equal(begun["features.0.0.weight"], inherited["features.0.0.weight"])
    saved = count(build(PAPER, "vgg19", {"width": WIDTH}, 10, 1), (1, 28, 28)).macs / narrow["macs"]
    assert saved > 1.5 and run.saving == pytest.approx(saved) and run.recipe.epochs == int(saved)
    assert run.plan()["chain"][-1]["recipe"]["epochs"] == 1, "the plan says what params.yaml says"


def test_a_winning_ticket_has_the_weights_from_before_training(runs: Path) -> None:
    untrained = ClassificationRun(PAPER, NAME, plan(), "base", 0).build().state_dict()
    ticket = starting(runs, "ticket").build().state_dict()
    first = next(name for name, value in untrained.items() if value.dim() == 4)
    rows = {tuple(row.flatten().tolist()) for row in untrained[first]}
    assert {tuple(row.flatten().tolist()) for row in ticket[first]} < rows

    trained, masks = starting(runs, "sparse-ticket").build().state_dict(), result(runs, "sparse")[1]
    for name, value in untrained.items():
        if value.dim() == 4:
            assert torch.equal(trained[name], value * (masks[name] != 0)), name


def test_weights_that_were_pruned_stay_zero_through_training(runs: Path) -> None:
    _, pruned = result(runs, "sparse")
    _, tuned = result(runs, "sparse-tuned")
    convolutions = [name for name, value in pruned.items() if value.dim() == 4]
    total = sum(pruned[name].numel() for name in convolutions)
    left = sum(int((pruned[name] != 0).sum()) for name in convolutions)
    assert abs(left / total - 0.25) < 0.01
    for name in convolutions:
        assert torch.equal(tuned[name] != 0, pruned[name] != 0) and not torch.equal(tuned[name], pruned[name])
    full = sum(parameter.numel() for parameter in build(PAPER, "vgg19", {"width": WIDTH}, 10, 1).parameters())
    assert measured(runs, "sparse")["params"] == full - total + left
    sizes = {arm: (seed_folder(runs, arm) / "weights.safetensors").stat().st_size for arm in ("base", "sparse")}
    assert sizes["sparse"] < 0.5 * sizes["base"], "a bit for each place instead of four bytes"


def test_channels_pruned_in_place_are_the_same_network_of_the_full_size(runs: Path) -> None:
    smaller, same = (measured(runs, arm) for arm in ("narrow", "kept"))
    narrow, in_place = (result(runs, arm)[0] for arm in ("narrow", "kept"))
    assert same["top1"] == smaller["top1"] and in_place["args"] == {"width": WIDTH}
    full = build(PAPER, "vgg19", {"width": WIDTH}, 10, 1)
    assert same["params"] == sum(parameter.numel() for parameter in full.parameters())
    widths = [int(width) for width in narrow["args"]["widths"].split("-")]
    assert [int(mask.sum()) for mask in starting(runs, "kept-tuned").start.channels(full).values()] == widths


def test_channels_pruned_in_place_stay_zero_through_training(runs: Path) -> None:
    _, pruned = result(runs, "kept")
    _, tuned = result(runs, "kept-tuned")
    anew = starting(runs, "kept-anew").build().state_dict()
    for name in build(PAPER, "vgg19", {"width": WIDTH}, 10, 1).prunable:
        for part in ("weight", "bias"):
            gone = pruned[f"{name}.weight"] == 0
            assert not bool(tuned[f"{name}.{part}"][gone].any()) and not bool(anew[f"{name}.{part}"][gone].any())
        assert torch.equal(anew[f"{name}.weight"] == 0, gone)
    assert any(not torch.equal(tuned[name], tensor) for name, tensor in pruned.items())


def test_weights_drawn_anew_keep_the_zeros_and_are_as_wide_as_what_is_left_asks(runs: Path) -> None:
    _, pruned = result(runs, "sparse")
    begun = starting(runs, "sparse-anew").build().state_dict()
    for name, value in pruned.items():
        if value.dim() == 4 and (left := int((value != 0).sum())) > 100:
            assert torch.equal(begun[name] != 0, value != 0)
            wanted = (2 * value.shape[1] / left) ** 0.5
            assert float(begun[name][value != 0].std()) == pytest.approx(wanted, rel=4 / left**0.5)


def test_what_is_missing_or_changed_is_named_with_the_command(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(
        PapertrailError,
        match=r"base/seeds/0: no finished run .*`papertrail train network_slimming tiny base",
    ):
        continued(PAPER, NAME, plan(), "tuned", 0, tmp_path)
    with pytest.raises(PapertrailError, match=r"base/seeds/0: no finished run of what params\.yaml"):
        continued(PAPER, NAME, plan(epochs=2), "tuned", 0, runs)
    shutil.copytree(runs, tmp_path / "copy")
    folder = seed_folder(tmp_path / "copy", "base")
    write_json(folder / "run.json", read_json(folder / "run.json") | {"sha256": "0" * 64})
    with pytest.raises(PapertrailError, match=r"base/seeds/0: no finished run of what params\.yaml"):
        continued(PAPER, NAME, plan(), "tuned", 0, tmp_path / "copy")


def test_a_rerun_is_kept_until_what_it_continues_changes(runs: Path, tmp_path: Path) -> None:
    folder = seed_folder(runs, "narrow")
    before = (folder / "run.json").stat().st_mtime_ns
    train_run(starting(runs, "narrow"), folder)
    assert (folder / "run.json").stat().st_mtime_ns == before
    record = read_json(seed_folder(runs, "base") / "run.json")
    changed = tmp_path / NAME / "base" / "seeds" / "0"
    write_json(changed / "run.json", record)
    shutil.copy(seed_folder(runs, "base") / "plan.json", changed)
    (changed / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(PapertrailError, match="base/seeds/0: no finished run"):
        starting(tmp_path, "narrow")


def test_stretching_keeps_the_shares_of_the_schedule() -> None:
    recipe = ClassificationRecipe.model_validate(RECIPE | {"epochs": 160, "method": None})
    drops = Schedule(name="multistep", milestones=(80, 120))
    longer = stretched(recipe.model_copy(update={"schedule": drops}), 1.52)
    assert (longer.epochs, longer.schedule.milestones) == (243, (122, 182))
    assert stretched(recipe, 0.001).epochs == 1


def test_a_chain_can_be_tried_without_any_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "protocol_with", lambda *_: plan())
    for arm in ("narrow", "tuned", "scratch", "sparse-tuned", "sparse-anew"):
        arms.fast_check(PAPER, NAME, arm)


def test_an_arm_is_trained_and_summed_up_like_any_other(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "protocol_with", lambda *_: plan())
    arms.train_arm(PAPER, NAME, "narrow", runs=runs)
    found = arms.evaluate_arm(PAPER, NAME, "narrow", runs=runs)
    assert {"top1", "small_scales", "params", "macs", "floored"} <= found.keys()
    assert read_json(runs / NAME / "narrow" / "metrics.json").keys() == {"top1"}
    assert not (runs / NAME / "narrow" / "curves.csv").exists()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Published:
    """A network of others on the digits, and a protocol whose arms begin with it."""
    one = Published(
        "https://example.org",
        "a.pth",
        "0" * 64,
        "MIT",
        None,
        PAPER,
        "vgg19",
        {"width": WIDTH},
        (0.1,),
        (0.5,),
        "mnist5k",
    )
    torch.manual_seed(5)
    network = build(PAPER, "vgg19", dict(one.args), 10, 1)
    monkeypatch.setattr(start, "published", lambda reference: one)
    monkeypatch.setattr(Published, "network", lambda self: network)
    return one


BEGUN: dict[str, Any] = {
    "more": {"builder": "vgg19", "args": {"width": WIDTH}, "begin": "rethinking_pruning/theirs"},
    "less": {
        "builder": "vgg19",
        "args": {"width": WIDTH},
        "begin": "rethinking_pruning/theirs",
        "prune": {"by": "l1", "ratio": 0.5},
    },
    "tuned": {"of": "less"},
}
STATISTICS = {"mean": [0.1], "std": [0.5]}


def begun(arms: dict[str, Any] = BEGUN, **augment: Any) -> Protocol:
    stated = plan(augment={"statistics": STATISTICS} | augment).model_dump() | {"arms": arms}
    return Protocol.model_validate(stated, context={"paper": PAPER})


def test_an_arm_begins_with_a_published_network(given: Published, tmp_path: Path) -> None:
    theirs = given.network().state_dict()
    run = run_of(PAPER, NAME, begun(), "more", 3, tmp_path)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in run.build().state_dict().items())
    planned = run.plan()
    assert (
        planned["start"] == {"arm": "rethinking_pruning/theirs", "sha256": given.sha256}
        and planned["chain"][0]["begin"] == "rethinking_pruning/theirs"
    )
    less = run_of(PAPER, NAME, begun(), "less", 0, tmp_path)
    train_run(less, seed_folder(tmp_path, "less"))
    tuned = run_of(PAPER, NAME, begun(), "tuned", 0, tmp_path)
    widths = [int(width) for width in str(tuned.args["widths"]).split("-")]
    assert len(widths) == 16 and tuned.plan()["start"]["arm"] == "less"
    untrained(PAPER, NAME, begun(), "tuned").two_steps()
    untrained(PAPER, NAME, begun(), "less").two_steps()


@pytest.mark.parametrize(
    ("change", "arm", "named"),
    [
        (
            {},
            {"args": {"width": 2 * WIDTH}},
            r"tiny\.arms\.more: `rethinking_pruning/theirs` is vgg19 with the arguments",
        ),
        ({"statistics": None}, {}, "`rethinking_pruning/theirs` was trained with `augment.statistics: "),
        (
            {"statistics": {"mean": [0.1], "std": [0.4]}},
            {},
            "`rethinking_pruning/theirs` was trained with `augment.statistics: ",
        ),
    ],
)
def test_a_published_network_is_stated_as_it_is(
    given: Published, tmp_path: Path, change: dict[str, Any], arm: dict[str, Any], named: str
) -> None:
    protocol = begun({"more": BEGUN["more"] | arm}, **change)
    with pytest.raises(UsageError, match=named):
        run_of(PAPER, NAME, protocol, "more", 0, tmp_path)


def test_nothing_begins_with_weights_that_may_not_be_passed_on(
    given: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "published", lambda reference: dataclasses.replace(given, licence=None))
    with pytest.raises(UsageError, match=r"example\.org states no licence"):
        run_of(PAPER, NAME, begun(), "more", 0, tmp_path)
