"""Published weights find their places, and keep their accuracy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from papers.rethinking_pruning import upstream
from shared.baselines.resnet_cifar import CifarResNet
from shared.errors import PapertrailError
from shared.files import read_json
from shared.weights.storage import fill


def theirs(ours: CifarResNet, blocks: int) -> dict[str, torch.Tensor]:
    """Weights of ours under published names, in the order of the published files."""
    names = {"stem.0": "conv1", "stem.1": "bn1", "classifier": "linear"}
    state = {}
    for name, tensor in ours.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        layer, _, kind = name.rpartition(".")
        if found := re.fullmatch(r"blocks\.(\d+)\.conv([12])\.([01])", layer):
            stage, number = divmod(int(found[1]), blocks)
            layer = f"layer{stage + 1}.{number}.{'bn' if found[3] == '1' else 'conv'}{found[2]}"
        state[f"{names.get(layer, layer)}.{kind}"] = tensor
    return state


@pytest.mark.parametrize(("depth", "blocks"), [(20, 3), (56, 9)])
def test_every_published_name_finds_its_own_place(depth: int, blocks: int) -> None:
    torch.manual_seed(0)
    ours = CifarResNet(depth)
    renamed = upstream.rename(theirs(ours, blocks))
    assert renamed.keys() == ours.state_dict().keys()
    other = CifarResNet(depth)
    fill(other, renamed, Path("theirs"))
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(other.eval()(images), ours.eval()(images))


@pytest.mark.parametrize("name", ["layer4.0.conv1.weight", "layer1.0.conv3.weight", "fc.weight", "conv1"])
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}`")):
        upstream.rename({name: torch.zeros(1)})


def test_our_networks_are_as_good_as_published() -> None:
    record = read_json(Path(upstream.__file__).with_name("upstream.json"))
    assert [found["top1"] for found in record.values()] == [91.73, 92.63, 93.10, 93.39]
