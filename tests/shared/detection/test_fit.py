from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("mmcv.ops")

from shared.detection import hooks
from shared.detection.boxes import DetectionSet, detection_set
from shared.detection.fit import DetectionRun
from shared.detection.predictions import predict
from shared.detection.recipe import DetectionRecipe
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT
from shared.training.protocol import Protocol, load_protocols
from shared.training.run import finished, train_run
from shared.training.tasks import task_of

ARGS = {"width": 0.5, "channels": 8, "convs": 1}
HOPELESS = {"optimiser": {"name": "sgd", "lr": 1e20}}


def protocol(data: str = "digit_scenes", **recipe: Any) -> Protocol:
    sgd = {"name": "sgd", "lr": 0.01, "momentum": 0.9}
    return Protocol.model_validate(
        {
            "what": "a test",
            "data": data,
            "arms": {"tiny": {"builder": "retinanet", "args": ARGS}},
            "recipe": {"task": "detection", "epochs": 2, "batch_size": 4, "size": [64, 64], "optimiser": sgd} | recipe,
        }
    )


def run(plan: Protocol) -> DetectionRun:
    return DetectionRun("ghostnet", "test", plan, "tiny", 0)


@pytest.fixture(autouse=True, scope="module")
def few() -> Iterator[None]:
    """The first images of each split alone, and no look at the import graph, which takes longer than a run here."""
    whole = DetectionSet.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.closure.digest", lambda starts: "of the code")
        patch.setattr(DetectionSet, "read", lambda images, split: whole(images, split)[:12])
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that ended."""
    folder = tmp_path_factory.mktemp("arm") / "seeds" / "0"
    train_run(run(protocol()), folder)
    return folder


def test_training_leaves_weights_and_a_record_without_metrics(trained: Path) -> None:
    record = json.loads((trained / "run.json").read_text())
    assert record["plan"]["input"] == [3, 64, 64] and record["plan"]["classes"] == 10 and record["epochs"] == 2
    assert record["args"] == ARGS and "metrics" not in record
    first, last = record["curves"]
    assert (first["step"], last["step"]) == (3, 6) and last["train_loss"] != first["train_loss"]
    assert load_file(trained / "weights.safetensors").keys() == run(protocol()).build().state_dict().keys()
    assert not (trained / "resume.ckpt").exists()


def test_evaluating_reads_the_weights_and_keeps_what_was_found(trained: Path) -> None:
    one, arm = run(protocol()), trained.parent.parent
    _, network = finished(one, trained)
    metrics = one.evaluate(network, arm)
    assert {"ap", "ap50", "ap75"} <= metrics.keys()
    for found in json.loads((arm / "detections" / "0.json").read_text()):
        assert found["category_id"] in range(10) and 0 < found["score"] <= 1 and min(found["bbox"][2:]) >= 0
    measures = json.loads((arm / "detections" / "0-measures.json").read_text())
    assert measures["coco"]["ap"] == pytest.approx(metrics["ap"], abs=1e-4)
    assert measures["voc"].keys() == {"11 point", "area"}
    assert one.task.measure(network, one.recipe, "digit_scenes") == metrics
    assert one.task.tell(metrics) == f"AP {metrics['ap']:.2f} %"


@pytest.mark.parametrize(("last", "workers"), [(2, 0), (3, 0), (4, 0), (2, 1)])
def test_a_kill_after_an_epoch_or_before_the_record_changes_no_bit(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int, workers: int
) -> None:
    """Files take their names in turn: the plan, what to go on from after each of two epochs, weights, record."""
    plan, once, folder = protocol(), trained, tmp_path / "killed" / "seeds" / "0"
    if workers:
        plan = plan.model_copy(update={"trainer": plan.trainer.model_copy(update={"workers": workers})})
        once = tmp_path / "once" / "seeds" / "0"
        train_run(run(plan), once)
    replace, written = os.replace, []

    def counted(source: str, target: Path) -> None:
        replace(source, target)
        written.append(target)
        if len(written) == last:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", counted)
        train_run(run(plan), folder)
    assert (folder / "resume.ckpt").exists() and not (folder / "run.json").exists()
    train_run(run(plan), folder)
    assert (folder / "weights.safetensors").read_bytes() == (once / "weights.safetensors").read_bytes()
    curves = [json.loads((path / "run.json").read_text())["curves"] for path in (folder, once)]
    assert curves[0] == curves[1]


def test_a_damaged_file_to_go_on_from_is_named(tmp_path: Path) -> None:
    (tmp_path / "resume.ckpt").touch()
    with pytest.raises(PapertrailError, match=r"resume\.ckpt: damaged \(File is not a zip file\); delete it"):
        run(protocol()).fit(tmp_path)


def test_the_learning_rate_follows_the_recipe(tmp_path: Path) -> None:
    schedule = {"name": "multistep", "milestones": [1], "gamma": 0.1, "warmup_steps": 2, "warmup_from": 0.5}
    seen: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        whole = hooks.Progress.before_train_iter
        rate = lambda runner: runner.optim_wrapper.optimizer.param_groups[0]["lr"]  # noqa: E731
        patch.setattr(
            hooks.Progress,
            "before_train_iter",
            lambda self, runner, **more: (whole(self, runner, **more), seen.append(rate(runner)))[0],
        )
        run(protocol(schedule=schedule)).fit(tmp_path)
    assert seen == pytest.approx([0.005, 0.0075, 0.01, 0.001, 0.001, 0.001])


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PapertrailError, match=r"loss.* (nan|inf).* at step \d .*recipe\.optimiser\.lr"):
        run(protocol(**HOPELESS)).fit(tmp_path)


def test_divergence_is_a_result_where_the_recipe_says_so(tmp_path: Path) -> None:
    one = run(protocol(**HOPELESS, evaluate_divergence=True))
    outcome = one.fit(tmp_path)
    assert len(outcome.curves) == 1 and outcome.epochs == 1
    assert one.evaluate(outcome.model, tmp_path)["ap"] == 0
    assert json.loads((tmp_path / "detections" / "0.json").read_text()) == []


def test_divergence_in_the_first_step_of_an_epoch_leaves_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = hooks.Progress.after_train_iter

    def broken(self: hooks.Progress, runner: Any, batch_idx: int, outputs: Any = None, **more: Any) -> None:
        lost = {"loss": torch.tensor(float("nan"))} if runner.epoch == 1 else {}
        whole(self, runner, batch_idx, outputs=outputs | lost, **more)

    monkeypatch.setattr(hooks.Progress, "after_train_iter", broken)
    curves = run(protocol(evaluate_divergence=True)).fit(tmp_path).curves
    assert [row["epoch"] for row in curves] == [1] and "train_loss" in curves[0]


def test_every_arm_of_the_paper_of_detectors_has_a_plan() -> None:
    stated = load_protocols(ROOT / "papers/adder_detection/params.yaml")
    for name, one in stated.items():
        for arm in one.arms:
            if task_of(one.recipe).name == "detection":
                read = DetectionRun("adder_detection", name, one, arm, 0).plan()["reads"]
                assert set(read) == {*filter(None, [one.arms[arm].args.get("checkpoint")])}, f"{name}/{arm}"


def test_vocs_layout_is_evaluated_as_voc() -> None:
    one = run(protocol("digit_scenes_voc"))
    metrics = one.task.measure(one.build(), one.recipe, "digit_scenes_voc")
    assert metrics.keys() == {"map50", "map50_area"}
    assert one.task.tell(metrics) == f"mAP at IoU 0.5 {metrics['map50']:.2f} %"


def test_a_batch_larger_than_the_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe\.batch_size: 16 of 12 training images; lower it"):
        run(protocol(batch_size=16, group_shapes=True)).fit(tmp_path)


def test_a_warm_up_longer_than_the_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"recipe\.schedule\.warmup_steps: 7 is not reached in a training of 6 steps"):
        run(protocol(schedule={"name": "cosine", "warmup_steps": 7})).fit(tmp_path)


@pytest.mark.parametrize(
    "recipe",
    [{"scales": [[64, 48], [96, 80]], "group_shapes": True}, {"zoom": [0.8, 1.2], "crop": [64, 48]}],
    ids=["scales", "crops"],
)
def test_training_images_of_many_sizes(recipe: dict[str, Any]) -> None:
    from mmdet.registry import DATASETS

    import shared.detection.registry  # noqa: F401
    from shared.detection.config import dataset

    plan = protocol(**recipe)
    assert isinstance(plan.recipe, DetectionRecipe)
    split = DATASETS.build(dataset(detection_set("digit_scenes"), "train", plan.recipe))
    shapes = {tuple(split[place]["inputs"].shape[1:]) for place in range(8)}
    boxes = plan.recipe.scales or (plan.recipe.crop,)
    assert len(shapes) > 1 or plan.recipe.crop
    assert all(any(high <= box[1] and wide <= box[0] for box in boxes if box) for high, wide in shapes)


def test_boxes_come_back_in_the_coordinates_of_the_stored_image() -> None:
    """A head that finds exactly one box, wherever the resized image has it."""
    one = run(protocol(size=[64, 64]))
    network = one.build()
    with torch.no_grad():
        network.detector.bbox_head.retina_cls.bias.fill_(2.0)  # everything is every class
    images = detection_set("digit_scenes")
    found = predict(network, one.recipe, images)
    right = max(box["bbox"][0] + box["bbox"][2] for box in found)
    assert 64 < right <= images.spec.shape[2], "boxes were left at the size that the network saw"


def test_two_steps_on_stand_in_images_need_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAPERTRAIL_DATA", raising=False)
    run(protocol("coco", size=[1333, 800])).two_steps()
    with pytest.raises(PapertrailError, match=r"the loss is (nan|inf) at step 1 of stand-in images"):
        run(protocol("coco", **HOPELESS)).two_steps()
