"""The published AdderNet finds its place, and keeps its accuracy."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from papers.adder_detection import MODELS, upstream
from papers.adder_detection.upstream import PUBLISHED, rename
from shared.errors import PapertrailError
from shared.files import read_json
from tests.published import require_published

IMAGES, RIGHT = 64, 59  # of the first test images the published network is right about so many


def theirs() -> dict[str, torch.Tensor]:
    """Weights of ours under the published names, found by the order in which both networks hold their layers."""
    ours = MODELS["adder_resnet20"](classes=10).state_dict()
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    layers = ["conv1", "bn1"]
    for stage in (1, 2, 3):
        for place in (0, 1, 2):
            block = ["conv1", "bn1", "conv2", "bn2"]
            block += ["downsample.0", "downsample.1"] if stage > 1 and place == 0 else []
            layers += [f"layer{stage}.{place}.{layer}" for layer in block]
    names = []
    for layer in [*layers, "fc", "bn2"]:
        first = layer.rpartition(".")[2]
        if first.startswith("bn") or layer.endswith("downsample.1"):
            names += [f"{layer}.{kind}" for kind in kinds]
        else:
            names.append(f"{layer}.{'weight' if layer in ('conv1', 'fc') else 'adder'}")
    state = dict(zip(names, ours.values(), strict=True))
    return state | {"fc.weight": state["fc.weight"][:, :, None, None]}


def test_every_published_name_finds_its_own_place() -> None:
    ours = MODELS["adder_resnet20"](classes=10).state_dict()
    renamed = rename(theirs())
    assert list(renamed) == list(ours)
    assert all(tensor.shape == ours[name].shape for name, tensor in renamed.items())


def test_other_names_are_refused() -> None:
    with pytest.raises(PapertrailError, match=r"`layer4\.0\.conv1\.adder` is no name of the published AdderNet"):
        rename({"layer4.0.conv1.adder": torch.zeros(1)})
    with pytest.raises(PapertrailError, match="the place of another tensor"):
        rename({"layer1.0.conv1.adder": torch.zeros(1), "layer1.0.conv1.weight": torch.zeros(1)})


def test_the_network_is_about_as_good_as_published() -> None:
    record = read_json(Path(upstream.__file__).with_name("upstream.json"))
    found = record["AdderNet ResNet-20"]["top1"]
    assert found == 91.82
    assert round(abs(found - 91.84), 2) <= 0.2, "the paper's table 2"
    assert round(abs(found - 92.02), 2) <= 0.2, "the page of the code"


def test_the_published_network_is_right_about_as_many_images_as_before() -> None:
    require_published(one := PUBLISHED["AdderNet ResNet-20"])
    assert one.right(one.network(), images=IMAGES) == RIGHT
