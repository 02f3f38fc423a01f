"""The detectors of tables 5 and 6, and the recipes that train them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from papers.eca_net import detectors
from papers.eca_net.model import ChannelAttention, Neighbours
from shared.files import ROOT

pytest.importorskip("mmcv.ops")

from shared.detection.recipe import DetectionRecipe
from shared.detection.standin import two_steps
from shared.training.protocol import load_protocol


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
        detectors.detector("retinanet", **given)


@pytest.mark.parametrize(("name", "masks"), [("coco", False), ("coco-masks", True)])
def test_the_recipe_is_the_papers(name: str, masks: bool) -> None:
    protocol = load_protocol(ROOT / "papers" / "eca_net" / "params.yaml", name)
    recipe, optimiser = protocol.recipe, protocol.recipe.optimiser
    assert isinstance(recipe, DetectionRecipe)
    assert (optimiser.name, optimiser.lr, optimiser.momentum, optimiser.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert (recipe.epochs, recipe.schedule.milestones, recipe.schedule.warmup_steps) == (12, (8, 11), 500)
    assert recipe.batch_size == 2 * 4 and protocol.trainer.devices == 4
    assert (recipe.size, recipe.masks, protocol.data) == ((1333, 800), masks, "coco")
    rows = [(depth, attention) for depth in ("resnet50", "resnet101") for attention in detectors.PREFIXES]
    for builder in ["mask_rcnn"] if masks else ["faster_rcnn", "retinanet"]:
        arms = [arm.args for arm in protocol.arms.values() if arm.builder == builder]
        assert [(arm["backbone"], arm["attention"]) for arm in arms] == rows


@pytest.mark.parametrize("name", detectors.FILES)
def test_two_steps_of_every_detector(name: str) -> None:
    protocol = load_protocol(ROOT / "papers/eca_net/params.yaml", "coco-masks" if name == "mask_rcnn" else "coco")
    assert isinstance(protocol.recipe, DetectionRecipe)
    network: Any = detectors.detector(name, attention="eca", frozen=False, classes=3)
    two_steps(network, protocol.recipe, 3, name)
