"""The switch: it changes what it says, and nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

pytest.importorskip("mmcv.ops")


from papers.adder_detection.adder import Adder2d
from papers.adder_detection.detectors import MODELS, NAMES
from papers.adder_detection.switch import SWITCHES, ZOO
from shared.detection.recipe import DetectionRecipe, read_recipe
from shared.detection.standin import two_steps
from shared.errors import PapertrailError
from shared.measure import count
from shared.weights.card import cards

TINY: dict[str, Any] = {"depth": 18, "width": 0.1875, "channels": 32, "convs": 1}
PARTS: dict[str, set[str]] = {
    "": set(),
    "B": {"backbone"},
    "B+N": {"backbone", "neck"},
    "B+N+H": {"backbone", "neck", "bbox_head"},
}
SHAPE = (3, 128, 160)


def built(name: str, **args: Any) -> Any:
    with torch.device("meta"):
        return MODELS[name](**args, classes=80).detector


def recipe() -> DetectionRecipe:
    return read_recipe(
        "adder_detection",
        {
            "task": "detection", "epochs": 1, "batch_size": 2, "size": [128, 128], "method": {"name": "adder"},
            "optimiser": {"name": "sgd", "lr": 0.01},
        },
    )  # fmt: skip


def adding(detector: nn.Module) -> set[str]:
    return {name for name, module in detector.named_modules() if isinstance(module, Adder2d)}


def test_every_name_has_a_configuration() -> None:
    assert set(NAMES) == set(ZOO)


@pytest.mark.parametrize("name", NAMES)
def test_every_detector_is_built_with_an_adder_backbone_and_neck(name: str) -> None:
    detector = built(name, adder="B+N", depth=18, width=0.25)
    assert {layer.split(".")[0] for layer in adding(detector)} == {"backbone", "neck"}


@pytest.mark.parametrize("name", ["fcos", "retinanet"])
def test_the_parts_that_add_are_nested(name: str) -> None:
    layers: set[str] = set()
    sums = set()
    for switch in SWITCHES:
        network: Any = MODELS[name](**TINY, adder=switch, classes=5)
        found = adding(network.detector)
        assert {layer.split(".")[0] for layer in found} == PARTS[switch]
        assert layers <= found
        assert not switch or layers < found
        layers = found
        counted = count(network, SHAPE)
        sums.add(counted.macs + counted.adder_taps)
    assert len(sums) == 1


@pytest.mark.parametrize("switch", ["B", "B+N"])
def test_the_rest_is_as_without_the_switch(switch: str) -> None:
    plain, switched = built("fcos"), built("fcos", adder=switch)
    for part in ("backbone", "neck", "bbox_head"):
        theirs, ours = getattr(plain, part), getattr(switched, part)
        if part == "neck" and part in PARTS[switch]:
            continue  # convolutions with bias there, batch normalisation here
        assert [(name, p.shape) for name, p in ours.named_parameters()] == [
            (name, p.shape) for name, p in theirs.named_parameters()
        ]
        if part not in PARTS[switch]:
            assert [type(module) for module in ours.modules()] == [type(module) for module in theirs.modules()]


def test_every_adder_layer_is_normalised() -> None:
    detector = built("retinanet", adder="B+N+H")
    for module, after in itertools.pairwise(detector.modules()):
        assert not isinstance(module, Adder2d) or isinstance(after, nn.BatchNorm2d)


def test_the_gradient_reaches_every_adder_layer() -> None:
    detector = built("fcos", **TINY, adder="B+N+H", input_gradient="clip")
    assert {module.input_gradient for module in detector.modules() if isinstance(module, Adder2d)} == {"clip"}


@pytest.mark.parametrize("name", ["faster_rcnn", "sparse_rcnn", "pisa"])
def test_a_second_stage_has_no_layers_to_switch(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no dense head .* use B"):
        built(name, adder="B+N+H")


def test_frozen_statistics_are_the_backbones_alone() -> None:
    detector = built("fcos", **TINY, adder="B+N", frozen_norm=True).train()
    frozen = {name.split(".")[0] for name, module in detector.named_modules()
              if isinstance(module, _BatchNorm) and not module.training}  # fmt: skip
    learning = {name.split(".")[0] for name, module in detector.named_modules()
                if isinstance(module, _BatchNorm) and module.training}  # fmt: skip
    assert (frozen, learning) == ({"backbone"}, {"neck"})


@pytest.mark.parametrize(
    ("name", "adder", "unknown"), [("yolo", "B", "yolo"), ("fcos", "N", "N"), ("fcos", "B+H", "B+H")]
)
def test_an_unknown_detector_or_switch_is_refused(name: str, adder: str, unknown: str) -> None:
    from papers.adder_detection.switch import AdderDetector

    with pytest.raises(ValueError, match=f"not {unknown}$".replace("+", r"\+")):
        AdderDetector(name, adder)


def test_the_width_of_a_second_stage_is_no_argument() -> None:
    from papers.adder_detection.switch import AdderDetector

    with pytest.raises(ValueError, match="faster_rcnn: the width of a second stage"):
        AdderDetector("faster_rcnn", channels=32)


def test_a_checkpoint_of_another_network_is_refused() -> None:
    ref = cards("ghostnet")[0].ref
    with pytest.raises(PapertrailError, match=rf"{ref}: pinned weights of .* not of `adder_resnet18`"):
        MODELS["fcos"](**TINY, adder="B", checkpoint=ref, classes=5)


@pytest.mark.parametrize("switch", SWITCHES)
def test_two_training_steps(switch: str) -> None:
    torch.manual_seed(0)
    network: Any = MODELS["fcos"](**TINY, adder=switch, classes=5)
    detector = network.detector
    before = {name: parameter.detach().clone() for name, parameter in detector.named_parameters()}
    two_steps(network, recipe(), 5, f"fcos with {switch or 'convolutions'}")
    moved = {name for name, parameter in detector.named_parameters() if not torch.equal(parameter, before[name])}
    assert {f"{layer}.weight" for layer in adding(detector)} <= moved
    assert all(parameter.isfinite().all() for parameter in detector.parameters())
