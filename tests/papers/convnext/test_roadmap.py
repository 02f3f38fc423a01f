from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.convnext.model import LayerNorm2d, convnext
from papers.convnext.roadmap import STEPS, Bottleneck, Modernised, Step, roadmap
from shared.measure import count
from tests.statistics import with_statistics


def kinds(network: nn.Module) -> dict[str, int]:
    """How often each kind of layer stands in a network."""
    found: dict[str, int] = {}
    for layer in network.modules():
        if not list(layer.children()) and not isinstance(layer, nn.Sequential):
            found[type(layer).__name__] = found.get(type(layer).__name__, 0) + 1
    return found


def built(step: str, **more: Any) -> nn.Module:
    with torch.device("meta"):
        return roadmap(step, **more)


def test_the_last_step_is_convnext() -> None:
    for start, size in (("resnet50", "tiny"), ("resnet200", "base")):
        found = {name: tensor.shape for name, tensor in built("convnext", start=start).state_dict().items()}
        with torch.device("meta"):
            assert found == {name: tensor.shape for name, tensor in convnext(size).state_dict().items()}


def test_activations_and_norms_go_where_the_paper_takes_them() -> None:
    """18 blocks, of which the first of stages 2 to 4 have a projection for a shortcut."""
    before = kinds(built("gelu"))
    few = kinds(built("fewer-activations"))
    assert (before["GELU"], few["GELU"]) == (1 + 18 * 3, 18) and "ReLU" not in before | few
    sparse = kinds(built("fewer-norms"))
    assert (few["BatchNorm2d"], sparse["BatchNorm2d"]) == (1 + 18 * 3 + 3, 18)
    assert kinds(built("layer-norm"))["LayerNorm2d"] == 18 and "BatchNorm2d" not in kinds(built("layer-norm"))
    assert kinds(built("large-kernel"))["ReLU"] == 1 + 18 * 3


@pytest.mark.parametrize(
    ("step", "layers"),
    [
        ("patchify", "Conv2d BatchNorm2d ReLU Conv2d BatchNorm2d ReLU Conv2d BatchNorm2d"),
        ("moved-up", "Conv2d BatchNorm2d ReLU Conv2d BatchNorm2d ReLU Conv2d BatchNorm2d"),
        ("fewer-activations", "Conv2d BatchNorm2d Conv2d BatchNorm2d GELU Conv2d BatchNorm2d"),
        ("fewer-norms", "Conv2d BatchNorm2d Conv2d GELU Conv2d"),
        ("layer-norm", "Conv2d LayerNorm2d Conv2d GELU Conv2d"),
    ],
)
def test_the_layers_of_a_block(step: str, layers: str) -> None:
    block = Bottleneck(16, 16, 1, Step(step), 0.0)
    assert " ".join(type(layer).__name__ for layer in block.body) == layers


@pytest.mark.parametrize(
    ("step", "shapes"),  # of figure 3: (outputs, inputs of each, kernel), for a stage of width 8
    [
        ("stage-ratio", [(8, 32, 1), (8, 8, 3), (32, 8, 1)]),
        ("depthwise", [(8, 32, 1), (8, 1, 3), (32, 8, 1)]),
        ("inverted", [(32, 8, 1), (32, 1, 3), (8, 32, 1)]),
        ("moved-up", [(8, 1, 3), (32, 8, 1), (8, 32, 1)]),
        ("gelu", [(8, 1, 7), (32, 8, 1), (8, 32, 1)]),
    ],
)
def test_the_convolutions_of_a_block(step: str, shapes: list[tuple[int, int, int]]) -> None:
    found = Step(step)
    block = Bottleneck(8 if found.inverted else 32, 8, 1, found, 0.0)
    convolutions = [layer for layer in block.body if isinstance(layer, nn.Conv2d)]
    assert [tuple(layer.weight.shape[:3]) for layer in convolutions] == shapes
    assert not len(block.shortcut)


def test_a_block_of_the_step_before_the_last_is_convnexts_block() -> None:
    """What is left to change is where the resolution falls, and layer scale, with which ConvNeXt's recipe comes."""
    torch.manual_seed(0)
    from papers.convnext.model import Block

    ours, last = Bottleneck(6, 6, 1, Step("layer-norm"), 0.0), Block(6, layer_scale=False)
    state = zip(last.state_dict(), ours.state_dict().values(), last.state_dict().values(), strict=True)
    last.load_state_dict({name: one.reshape(other.shape) for name, one, other in state})
    x: Tensor = torch.randn(2, 6, 9, 9)
    torch.testing.assert_close(ours(x), last(x))
    assert isinstance(ours.body[1], LayerNorm2d)


@pytest.mark.parametrize("step", STEPS)
def test_small_images_keep_their_places(step: str) -> None:
    """With a stem of stride 2 the first stage sees 16 x 16 of 32 x 32 places, and a grey image does as well."""
    network = with_statistics(roadmap(step, width=0.125, patch=2, classes=10, in_channels=1))
    seen: list[Tensor] = []
    assert isinstance(network, nn.Module)
    network.stem.register_forward_hook(lambda *args: seen.append(args[2]))  # type: ignore[union-attr]
    with torch.inference_mode():
        assert network(torch.randn(2, 1, 32, 32)).shape == (2, 10)
    assert seen[0].shape[2:] == (16, 16)


def test_the_small_protocols_networks_cost_the_same() -> None:
    widths = {"resnet": 0.140625, "wide": 0.125, "convnext": 0.125}
    macs = {step: count(roadmap(step, width=width, patch=2, classes=10), (3, 32, 32)).macs
            for step, width in widths.items()}  # fmt: skip
    assert max(macs.values()) < 1.05 * min(macs.values()) and macs["convnext"] < macs["resnet"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"step": "attention"}, "step must be one of resnet, .* not 'attention'"),
        ({"step": "gelu", "kernel": 9}, "at the step large-kernel alone: 9"),
        ({"step": "large-kernel", "kernel": 4}, "kernel is odd.*: 4"),
        ({"start": "resnet101"}, "start must be one of resnet50, resnet200, not 'resnet101'"),
        ({"patch": 3}, "patch must be 4 or 2, not 3"),
    ],
)
def test_a_step_that_the_paper_lacks_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        roadmap(**wrong)


def test_stochastic_depth_reaches_the_last_block() -> None:
    network = roadmap("depthwise", width=0.125, drop_path=0.1)
    assert isinstance(network, Modernised)
    rates = [block.drop_path.rate for stage in network.stages for block in stage]  # type: ignore[union-attr]
    assert (rates[0], rates[-1], len(rates)) == (0, pytest.approx(0.1), 18)
