from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("mmcv.ops")

from shared.detection import hooks
from shared.detection.detection_set import DetectionSet
from shared.detection.fit import DetectionRun, predict
from shared.detection.sets import detection_set
from shared.detection.standin import fast_check
from shared.errors import PapertrailError, UsageError
from shared.training.recipe import Protocol, detection
from shared.training.run import train_arm, train_run

ARGS = {"width": 0.5, "channels": 8, "convs": 1}


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


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first images of each split alone."""
    whole = DetectionSet.read
    monkeypatch.setattr(DetectionSet, "read", lambda images, split: whole(images, split)[:12])


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    folder = tmp_path / "seeds" / "0"
    train_run(run(protocol()), folder)
    return folder


def test_a_run_leaves_weights_a_record_and_detections(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["input"] == [3, 64, 64] and record["classes"] == 10 and record["epochs"] == 2
    assert record["data_hash"] == detection_set("digit_scenes").spec.fingerprint
    assert {"ap", "ap50", "ap75"} <= record["metrics"].keys()
    first, last = record["curves"]
    assert (first["step"], last["step"]) == (3, 6) and last["train_loss"] != first["train_loss"]
    assert load_file(finished / "weights.safetensors").keys() == run(protocol()).build().state_dict().keys()
    for found in json.loads((finished / "detections.json").read_text()):
        assert found["category_id"] in range(10) and 0 < found["score"] <= 1 and min(found["bbox"][2:]) >= 0
    assert not (finished / "resume.ckpt").exists()


def test_a_killed_run_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path, monkeypatch: Any) -> None:
    class Killed(Exception):
        pass

    def kill(self: hooks.Progress, runner: Any, **_: Any) -> None:
        whole(self, runner)
        if runner.epoch == 0:
            raise Killed

    whole = hooks.Progress.after_train_epoch
    folder = tmp_path / "killed" / "seeds" / "0"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(hooks.Progress, "after_train_epoch", kill)
        train_run(run(protocol()), folder)
    assert (folder / "resume.ckpt").exists() and not (folder / "run.json").exists()
    train_run(run(protocol()), folder)
    assert (folder / "weights.safetensors").read_bytes() == (finished / "weights.safetensors").read_bytes()
    curves = [json.loads((path / "run.json").read_text())["curves"] for path in (folder, finished)]
    assert curves[0] == curves[1]


def test_the_learning_rate_follows_the_recipe(tmp_path: Path) -> None:
    schedule = {"name": "multistep", "milestones": [1], "gamma": 0.1}
    outcome = run(protocol(schedule=schedule)).fit(tmp_path)
    assert [row["lr"] for row in outcome.curves] == pytest.approx([0.01, 0.001])


HOPELESS = {"optimiser": {"name": "sgd", "lr": 1e20}}


def test_a_loss_that_is_not_finite_is_an_error_that_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(PapertrailError, match=r"loss.* (nan|inf).* at step \d .*recipe\.optimiser\.lr"):
        run(protocol(**HOPELESS)).fit(tmp_path)


def test_divergence_is_a_result_where_the_recipe_says_so(tmp_path: Path) -> None:
    outcome = run(protocol(**HOPELESS, evaluate_divergence=True)).fit(tmp_path)
    assert outcome.metrics["ap"] == 0 and json.loads((tmp_path / "detections.json").read_text()) == []
    assert len(outcome.curves) == 1


def test_vocs_layout_is_evaluated_as_voc(tmp_path: Path) -> None:
    outcome = run(protocol("digit_scenes_voc", epochs=1)).fit(tmp_path)
    assert outcome.metrics.keys() == {"map50", "map50_area"}


def test_boxes_come_back_in_the_coordinates_of_the_stored_image() -> None:
    """A head that finds exactly one box, wherever the resized image has it."""
    recipe = detection(protocol(size=[64, 64]).recipe)
    torch.manual_seed(0)
    network: Any = run(protocol()).build()
    with torch.no_grad():
        network.detector.bbox_head.retina_cls.bias.fill_(2.0)  # everything is every class
    images = detection_set("digit_scenes")
    found = predict(network, recipe, images)
    right = max(box["bbox"][0] + box["bbox"][2] for box in found)
    assert 64 < right <= images.spec.shape[2], "boxes were left at the size that the network saw"


def test_two_steps_on_stand_in_images_need_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = protocol("coco", size=[1333, 800])
    monkeypatch.setattr("shared.detection.standin.protocol_with", lambda *_: plan)
    monkeypatch.delenv("PAPERTRAIL_DATA", raising=False)
    fast_check("ghostnet", "test", "tiny")


def test_each_kind_of_protocol_has_its_own_command() -> None:
    with pytest.raises(UsageError, match=r"python -m shared\.training"):
        detection(Protocol.model_validate(CLASSIFIER).recipe)
    with pytest.raises(UsageError, match="no arm `none`"):
        train_arm("ghostnet", "mini", "none", kind=DetectionRun)


CLASSIFIER = {
    "what": "a test", "data": "mnist5k", "arms": {"a": {"builder": "vgg16"}},
    "recipe": {"epochs": 1, "batch_size": 1, "optimiser": {"name": "sgd", "lr": 1}},
}  # fmt: skip
