from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from papers.convnext.model import convnext, convnext_isotropic
from papers.convnext.upstream import rename
from shared.errors import PapertrailError
from shared.weights.convert import convert
from shared.weights.storage import load_weights


def official(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our state under the names of the official release."""
    names = {}
    for name, tensor in state.items():
        theirs = re.sub(r"^stem\.", "downsample_layers.0.", name)
        theirs = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", theirs)
        theirs = theirs.replace(".blocks.", ".").replace("depthwise", "dwconv").replace("expand", "pwconv1")
        names[theirs.replace("project", "pwconv2").replace("classifier", "head")] = tensor
    return names


def test_official_names_become_ours_and_timm_reads_the_same(timm: Any) -> None:
    ours = convnext("tiny").state_dict()
    theirs = official(ours)
    assert not theirs.keys() & ours.keys() - {"norm.weight", "norm.bias"}
    found = rename(theirs)
    assert found.keys() == ours.keys() and all(found[name] is ours[name] for name in ours)
    # timm's own reading of the official names, an independent one, leads to the same places.
    network = timm.create_model("convnext_tiny")
    by_timm = timm.models.convnext.checkpoint_filter_fn(dict(theirs), network)
    assert by_timm.keys() == network.state_dict().keys()
    again = rename(by_timm)
    assert all(torch.equal(again[name], ours[name]) for name in ours)


def test_the_isotropic_networks_names_too() -> None:
    ours = convnext_isotropic("large", 0.0625).state_dict()
    theirs = {
        name.replace("depthwise", "dwconv").replace("expand", "pwconv1").replace("project", "pwconv2").replace(
            "classifier", "head"): tensor for name, tensor in ours.items()
    }  # fmt: skip
    assert rename(theirs).keys() == ours.keys() != theirs.keys()


def test_published_weights_become_ours_in_one_step(tmp_path: Path) -> None:
    ours = convnext("tiny", 0.125).state_dict()
    torch.save({"model": official(ours)}, tmp_path / "theirs.pth")
    convert("convnext", tmp_path / "theirs.pth", "convnext_tiny", {"width": 0.125}, 1000, tmp_path / "ours.safetensors")
    found = load_weights(tmp_path / "ours.safetensors", None)
    assert found.keys() == ours.keys() and all(torch.equal(found[name], ours[name]) for name in ours)


@pytest.mark.parametrize(
    "name", ["stem.2.weight", "stages.0.0.pwconv3.weight", "head.fc", "downsample_layers.1.0.gamma", "mask_token"]
)
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}`")):
        rename({name: torch.zeros(1)})


def test_no_tensor_is_lost_to_another_of_the_same_place() -> None:
    with pytest.raises(PapertrailError, match=r"`head\.fc\.weight` has the place of another"):
        rename(dict.fromkeys(("head.weight", "head.fc.weight"), torch.zeros(1)))
