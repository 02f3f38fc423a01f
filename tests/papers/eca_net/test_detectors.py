"""The detectors of tables 5 and 6, and the configuration files that train them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from papers.eca_net import detectors
from papers.eca_net.model import ChannelAttention, Neighbours
from shared.files import ROOT

pytest.importorskip("mmcv.ops")

from shared.detection.config import fast_check, load

CONFIGS = sorted(path for path in (ROOT / "papers/eca_net/configs").glob("*.py") if path.stem != "recipe")


def built(name: str, backbone: str, attention: str, **more: Any) -> Any:
    with torch.device("meta"):
        return detectors.detector(name, backbone, attention, **more)


@pytest.mark.parametrize("name", detectors.FILES)
def test_attention_is_all_that_differs(name: str) -> None:
    plain = built(name, "resnet50", "none")
    for attention, per_module in (("se", 2), ("eca", 1)):
        network = built(name, "resnet50", attention)
        modules = [m for m in network.modules() if isinstance(m, ChannelAttention)]
        extra = set(network.state_dict()) - set(plain.state_dict())
        assert not set(plain.state_dict()) - set(network.state_dict())
        assert len(modules) == 16 and len(extra) == 16 * per_module and all(".mix." in label for label in extra)


@pytest.mark.parametrize(
    ("name", "backbone", "sizes"),
    [("faster_rcnn", "resnet50", "5555"), ("mask_rcnn", "resnet50", "3377"), ("retinanet", "resnet101", "3357")],
)
def test_the_released_kernel_sizes_are_the_default(name: str, backbone: str, sizes: str) -> None:
    network = built(name, backbone, "eca").detector.backbone.network
    found = [{m.conv.kernel_size[0] for m in stage.modules() if isinstance(m, Neighbours)} for stage in network.stages]
    assert found == [{int(digit)} for digit in sizes]
    other = built(name, backbone, "eca", kernel="3333").detector.backbone.network
    assert {m.conv.kernel_size[0] for m in other.modules() if isinstance(m, Neighbours)} == {3}


def test_the_stem_and_the_first_stage_are_frozen() -> None:
    network = built("retinanet", "resnet50", "se")
    still = {label.split(".")[3] for label, p in network.named_parameters() if not p.requires_grad}
    trunk = network.detector.backbone.network
    assert still == {"stem", "stages"} and not any(p.requires_grad for p in trunk.stages[0].parameters())
    assert all(p.requires_grad for stage in trunk.stages[1:] for p in stage.parameters())
    assert all(p.requires_grad for p in built("retinanet", "resnet50", "se", frozen=False).parameters())


def test_the_narrow_detectors_differ_in_attention_alone() -> None:
    with torch.device("meta"):
        networks = {name: detectors.narrow_retinanet(name, classes=10) for name in detectors.PREFIXES}
    plain = set(networks["none"].state_dict())
    extra = {name: len(set(network.state_dict()) - plain) for name, network in networks.items()}
    assert extra == {"none": 0, "se": 16, "eca": 8}
    with pytest.raises(ValueError, match="not 'resnet18' and 'cbam'"):
        detectors.narrow_retinanet("cbam")


@pytest.mark.parametrize("wrong", [{"backbone": "resnet18"}, {"attention": "cbam"}])
def test_a_detector_that_the_paper_lacks_is_refused(wrong: dict[str, str]) -> None:
    given = {"backbone": "resnet50", "attention": "eca"} | wrong
    with pytest.raises(ValueError, match=f"not .*{next(iter(wrong.values()))}"):
        detectors.model_of("retinanet", **given)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_the_recipe_is_the_papers(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKBONE", "resnet101")
    monkeypatch.setenv("ATTENTION", "se")
    config = load(file)
    optimiser = config.optim_wrapper.optimizer
    assert (optimiser.type, optimiser.lr, optimiser.momentum, optimiser.weight_decay) == ("SGD", 0.01, 0.9, 1e-4)
    assert config.train_cfg.max_epochs == 12 and list(config.param_scheduler[1].milestones) == [8, 11]
    assert config.train_dataloader.batch_size == 2
    assert config.train_dataloader.dataset.ann_file.endswith("instances_train2017.json")
    steps = {step.type: step for step in config.train_dataloader.dataset.pipeline}
    assert tuple(steps["Resize"].scale) == (1333, 800)
    assert (config.model.backbone.model, config.model.backbone.checkpoint) == ("se_resnet101", None)
    masks = file.stem == "mask_rcnn"
    assert steps["LoadAnnotations"].get("with_mask", False) == masks
    assert list(config.val_evaluator.metric) == (["bbox", "segm"] if masks else ["bbox"])
    assert config.val_evaluator.type == "CocoMetric"


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_two_iterations_of_every_configuration(file: Path) -> None:
    fast_check(file)
