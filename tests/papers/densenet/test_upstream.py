"""Published weights find their places, and our networks compute with them what theirs compute."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from papers.densenet import upstream
from papers.densenet.model import densenet, densenet_imagenet
from papers.densenet.upstream import PUBLISHED, rename
from shared.errors import PapertrailError
from shared.files import read_json
from shared.weights.convert import convert
from shared.weights.storage import fill, load_weights
from tests.published import require_published
from tests.statistics import with_statistics

IMAGES, RIGHT = 64, 59  # of the first test images the published DenseNet-BC (100, 12) is right about so many


@pytest.mark.parametrize("depth", [121, 161])
def test_timms_weights_give_timms_outputs(depth: int, timm: Any) -> None:
    torch.manual_seed(0)
    theirs = with_statistics(timm.create_model(f"densenet{depth}", num_classes=10))
    growth = theirs.features.denseblock1.denselayer1.conv2.weight.shape[0]
    ours = densenet_imagenet(depth, growth, classes=10).eval()
    # Both networks hold their layers in the same order, which is an independent way to know the right place.
    assert list(rename(theirs.state_dict())) == list(ours.state_dict())
    fill(ours, rename(theirs.state_dict()), Path("timm"))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("depth", [169, 201])
def test_timms_other_networks_find_their_places_too(depth: int, timm: Any) -> None:
    with torch.device("meta"):
        theirs, ours = timm.create_model(f"densenet{depth}").state_dict(), densenet_imagenet(depth).state_dict()
    renamed = rename(theirs)
    assert list(renamed) == list(ours) and all(renamed[name].shape == ours[name].shape for name in ours)


def theirs_from_ours(network: nn.Module, layers: int) -> dict[str, Tensor]:
    """Weights of a DenseNet-BC for small images under the published names, of which the oldest count no batches."""
    state = {}
    for name, tensor in network.state_dict().items():
        place, rest = (re.fullmatch(r"(?:features\.)?(\d+|classifier)\.(.+)", name) or pytest.fail(name)).groups()
        if place in ("0", "classifier"):
            state[f"{'conv1' if place == '0' else 'fc'}.{rest}"] = tensor
            continue
        block, number = divmod(int(place) - 1, layers + 5)
        if number < layers:
            part = {"1": "bn1", "3": "conv1", "4": "bn2", "6": "conv2"}[rest.split(".")[1]]
            state[f"block{block + 1}.layer.{number}.{part}.{rest.split('.')[2]}"] = tensor
        elif block == 2:
            state[f"bn1.{rest}"] = tensor
        else:
            state[f"trans{block + 1}.{'bn1' if number == layers + 1 else 'conv1'}.{rest}"] = tensor
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def test_the_names_of_small_networks_go_there_and_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = with_statistics(densenet(22, 4, bottleneck=True, compression=0.5))
    torch.save({"epoch": 300, "state_dict": theirs_from_ours(ours, 3)}, tmp_path / "theirs.pth")
    args = {"depth": 22, "growth": 4, "bottleneck": True, "compression": 0.5}
    convert("densenet", tmp_path / "theirs.pth", "densenet", args, 10, tmp_path / "ours.safetensors")
    back = load_weights(tmp_path / "ours.safetensors", None)
    assert back.keys() == ours.state_dict().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in ours.state_dict().items())


def test_older_names_of_torchvision_are_the_newer_ones() -> None:
    newer = ["features.denseblock1.denselayer1.norm1.weight", "features.denseblock1.denselayer1.conv2.weight"]
    older = ["features.denseblock1.denselayer1.norm.1.weight", "features.denseblock1.denselayer1.conv.2.weight"]
    assert list(rename(dict.fromkeys(newer, torch.zeros(1)))) == list(rename(dict.fromkeys(older, torch.zeros(1))))


def test_published_weights_classify_the_genuine_test_images() -> None:
    (one,) = PUBLISHED.values()
    require_published(one)
    assert one.right(one.network(), IMAGES) == RIGHT


def test_all_of_the_test_images_were_classified_once() -> None:
    record = read_json(Path(upstream.__file__).with_name("upstream.json"))
    assert [found["top1"] for found in record.values()] == [94.54]


LAYER = "block1.layer.0.conv1.weight"


@pytest.mark.parametrize("name", [
    "stem.weight", "conv1", "block1.layer.0.conv3.weight", "block2.layer.0.conv1.weight.extra", "trans9.conv1.weight",
    "features.denseblock9.denselayer1.conv1.weight", "features.norm4.weight",
])  # fmt: skip
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}` is no name")):
        rename({LAYER: torch.zeros(1), name: torch.zeros(1)})


def test_no_tensor_is_lost_to_another_of_the_same_place() -> None:
    with pytest.raises(PapertrailError, match=r"`block1\.layer\.0\.norm1\.bias` has the place of another"):
        rename(dict.fromkeys(["block1.layer.0.bn1.bias", "block1.layer.0.norm1.bias"], torch.zeros(1)))
