"""Published weights find their places, and the change of normalisation is one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from papers.rethinking_pruning import MODELS, upstream
from shared.baselines.resnet_cifar import CifarResNet
from shared.errors import DataError, PapertrailError
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


def test_one_normalisation_becomes_the_other() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    images = torch.rand(2, 3, 4, 4)

    def normalised(mean: Any, std: Any) -> torch.Tensor:
        return (images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    found = upstream.Renormalised(torch.nn.Identity(), mean, std)(normalised(mean, std))
    torch.testing.assert_close(found, normalised(upstream.MEAN, upstream.STD))


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        upstream.published("resnet20", tmp_path)
    (tmp_path / upstream.FILES["resnet20"][0]).write_bytes(b"no weights")
    with pytest.raises(DataError, match="sha256"):
        upstream.published("resnet20", tmp_path)


def test_the_record_is_of_the_pinned_files() -> None:
    record = read_json(upstream.OUT)
    assert {model: found["sha256"] for model, found in record.items()} == {
        model: sha256 for model, (_, sha256) in upstream.FILES.items()
    }
    assert record.keys() <= MODELS.keys()
    # As published with the weights; our networks compute what theirs do.
    assert [found["top1"] for found in record.values()] == [91.73, 92.63, 93.10, 93.39]
