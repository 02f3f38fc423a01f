"""Published weights find their places, and keep their accuracy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from papers.wide_resnet import upstream
from papers.wide_resnet.model import wrn, wrn50_bottleneck
from shared.errors import PapertrailError
from shared.files import read_json
from shared.weights.convert import convert
from shared.weights.storage import fill, load_weights
from tests.published import require_published
from tests.statistics import with_statistics


def theirs(ours: torch.nn.Module, group: str, classifier: str) -> dict[str, torch.Tensor]:
    """Weights of ours under published names, found by the order in which both networks hold their layers."""
    layers = ["bn1", "conv1", "bn2", "conv2", "convShortcut"]
    state = {}
    for name, tensor in ours.state_dict().items():
        layer, _, kind = name.rpartition(".")
        if layer.startswith("groups."):
            _, number, place, *inside = layer.split(".")
            known = ["act.0", "body.0", "body.1", "body.3", "shortcut"].index(".".join(inside))
            layer = f"{group}{int(number) + 1}.layer.{place}.{layers[known]}"
        else:
            layer = {"stem": "conv1", "act.0": "bn1", "classifier": classifier}[layer]
        state[f"{layer}.{kind}"] = tensor
    return state


@pytest.mark.parametrize(("group", "classifier"), [("layer", "linear"), ("block", "fc")])
@pytest.mark.parametrize("width", [1, 2])
def test_every_published_name_finds_its_own_place(group: str, classifier: str, width: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = with_statistics(wrn(16, width))
    state = {f"module.{name}": tensor for name, tensor in theirs(ours, group, classifier).items()}
    torch.save({"model_state_dict": state, "epoch": 1}, tmp_path / "theirs.pth")
    convert(
        "wide_resnet", tmp_path / "theirs.pth", "wrn", {"depth": 16, "width": width}, 10, tmp_path / "a.safetensors"
    )
    other = wrn(16, width).eval()
    fill(other, load_weights(tmp_path / "a.safetensors", None), tmp_path)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(other(images), ours(images))
    with pytest.raises(PapertrailError, match="shape"):
        convert(
            "wide_resnet", tmp_path / "theirs.pth", "wrn", {"depth": 16, "width": 4}, 10, tmp_path / "b.safetensors"
        )
    assert not (tmp_path / "b.safetensors").exists()


def test_timms_names_are_known(timm: Any) -> None:
    reference = timm.create_model("wide_resnet50_2")
    assert list(upstream.rename(reference.state_dict())) == list(wrn50_bottleneck().state_dict())


@pytest.mark.parametrize(
    "name",
    [
        "layer4.layer.0.conv1.weight", "layer1.layer.0.conv3.weight", "layer1.0.conv1.weight", "conv2.weight", "conv1",
        "layer1.layer.0.bn1",
    ],
)  # fmt: skip
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}` is no name of a published wide ResNet")):
        upstream.rename({name: torch.zeros(1)})
    large = {"layer4.0.conv1.weight": torch.zeros(1)}
    with pytest.raises(PapertrailError, match=r"layer1\.0\.conv4\.weight"):
        upstream.rename(large | {"layer1.0.conv4.weight": torch.zeros(1)})


def test_the_record_is_of_the_pinned_files_and_as_published() -> None:
    record = read_json(Path(upstream.__file__).with_name("upstream.json"))
    assert {name: found["top1"] for name, found in record.items()} == {"WRN-16-1": 91.75, "WRN-28-1": 92.89}


@pytest.mark.parametrize("name", ["WRN-16-1", pytest.param("WRN-28-1", marks=pytest.mark.slow)])
def test_published_weights_keep_their_accuracy(name: str) -> None:
    require_published(one := upstream.PUBLISHED[name])
    assert f"{one.evaluate().top1:.2f}" == one.says
