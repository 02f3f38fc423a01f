"""A configuration file for users of MMDetection: complete, loadable, and trained by MMEngine's own Runner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mmcv.ops")

from mmengine.config import Config
from mmengine.runner import Runner

from shared.detection.boxes import DetectionSet, detection_set
from shared.detection.config import export_config, loader
from shared.detection.recipe import DetectionRecipe
from shared.errors import UsageError


def recipe(**changes: Any) -> DetectionRecipe:
    sgd = {"name": "sgd", "lr": 0.01}
    given = {"task": "detection", "epochs": 1, "batch_size": 8, "size": [64, 64], "optimiser": sgd}
    return DetectionRecipe.model_validate(given | changes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("config") / "ghostnet.py"
    export_config("ghostnet", "scenes", "retinanet-ghostnet", file)
    return file


def test_the_file_is_complete(exported: Path) -> None:
    config = Config.fromfile(exported)
    assert config.model.type == "RetinaNet" and config.model.bbox_head.num_classes == 10
    assert config.model.backbone.args == {"width": 0.5}
    assert config.train_dataloader.batch_size == 8 and config.train_dataloader.drop_last
    assert config.train_dataloader.dataset.name == "digit_scenes"
    assert config.train_cfg.max_epochs == 24 and config.optim_wrapper.clip_grad.max_norm == 35
    assert config.optim_wrapper.recipe == config.custom_hooks[0].recipe
    assert "papertrail export-config" in exported.read_text()


def test_mmengines_own_runner_trains_by_it(exported: Path, tmp_path: Path, monkeypatch: Any) -> None:
    whole = DetectionSet.read
    monkeypatch.setattr(DetectionSet, "read", lambda images, split: whole(images, split)[:8])
    config = Config.fromfile(exported)
    config.work_dir, config.log_level = str(tmp_path), "ERROR"
    config.model.neck.out_channels = config.model.bbox_head.in_channels = config.model.bbox_head.feat_channels = 8
    config.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(config)
    before = [parameter.detach().clone() for parameter in runner.model.parameters()]
    runner.train()
    assert runner.iter == 1 and (tmp_path / "epoch_1.pth").exists()
    assert any(not old.equal(new) for old, new in zip(before, runner.model.parameters(), strict=True))
    assert runner.optim_wrapper.optimizer.param_groups[0]["lr"] == 0  # the first step of the recipe's warm-up
    assert "val/ap" in runner.message_hub.log_scalars


def test_the_file_of_a_mask_detector_needs_no_data(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("PAPERTRAIL_DATA", raising=False)
    export_config("eca_net", "coco-masks", "mask-rcnn-resnet50-eca", tmp_path / "mask.py")
    config = Config.fromfile(tmp_path / "mask.py")
    assert config.train_dataloader.dataset.type == "OutlinedImages" and config.val_evaluator.masks
    assert config.train_dataloader.dataset.pipeline[1].with_mask
    assert config.train_dataloader.batch_size == 2  # of 8 images on four devices
    assert config.train_dataloader.batch_sampler.type == "AspectRatioBatchSampler"


def test_what_is_no_detector_has_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`mini` trains no detector"):
        export_config("ghostnet", "mini", "vgg16", tmp_path / "vgg.py")
    with pytest.raises(UsageError, match=r"a name that ends in \.py"):
        export_config("ghostnet", "scenes", "retinanet-ghostnet", tmp_path / "vgg.yaml")


def test_devices_share_a_batch_evenly() -> None:
    images = detection_set("digit_scenes")
    assert loader(images, "train", recipe(), seed=0, devices=4)["batch_size"] == 2
    with pytest.raises(UsageError, match="8 images cannot be shared out over 3 devices"):
        loader(images, "train", recipe(), seed=0, devices=3)


def test_outlines_need_cocos_layout() -> None:
    with pytest.raises(UsageError, match="digit_scenes_voc has no outlines"):
        loader(detection_set("digit_scenes_voc"), "train", recipe(masks=True), seed=0)
