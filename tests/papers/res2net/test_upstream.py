"""timm's networks, an independent implementation: its weights find their places here, and give its outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from papers.res2net import MODELS
from papers.res2net.upstream import rename
from shared.errors import PapertrailError
from shared.weights.convert import convert
from shared.weights.storage import fill, load_weights
from tests.statistics import with_statistics

# timm's name -> ours and its arguments.
TWINS: dict[str, tuple[str, dict[str, Any]]] = {
    "res2net50_26w_4s": ("res2net50", {}),
    "res2net50_48w_2s": ("res2net50", {"width": 48, "scale": 2}),
    "res2net50_14w_8s": ("res2net50", {"width": 14, "scale": 8}),
    "res2net101_26w_4s": ("res2net101", {}),
    "res2next50": ("res2next50", {}),
    "res2net50d": ("res2net50_v1b", {}),
    "dla60_res2net": ("res2net_dla60", {}),
    "dla60_res2next": ("res2next_dla60", {}),
    "dla60": ("dla60", {}),
    "dla60x": ("dlax60", {}),
    "resnet50": ("resnet50", {}),
    "resnext50_32x4d": ("resnext50", {}),
    "seresnet50": ("resnet50", {"se": True}),
}


@pytest.mark.parametrize("name", TWINS)
def test_outputs_equal_timm(name: str, timm: Any) -> None:
    torch.manual_seed(0)
    model, args = TWINS[name]
    theirs = with_statistics(timm.create_model(name))
    ours = MODELS[model](**args).eval()
    fill(ours, rename(theirs.state_dict()), Path("timm"))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    scale = float(expected.std())
    assert scale > 1e-2  # otherwise any two networks are equal
    torch.testing.assert_close(found / scale, expected / scale, atol=1e-4, rtol=0)


def test_published_weights_become_ours_in_one_step(tmp_path: Path, timm: Any) -> None:
    theirs = timm.create_model("res2net50_14w_8s", num_classes=3).state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "theirs.pth")
    args: dict[str, Any] = {"width": 14, "scale": 8}
    convert("res2net", tmp_path / "theirs.pth", "res2net50", args, 3, tmp_path / "ours.safetensors")
    ours = load_weights(tmp_path / "ours.safetensors", None)
    # There and back again: every tensor of theirs is found once among ours, unchanged.
    assert len(ours) == len(theirs) == len(rename(theirs))
    assert all(torch.equal(ours[place], tensor) for place, tensor in rename(theirs).items())
    assert torch.equal(ours["stages.3.1.body.1.convs.6.0.weight"], theirs["layer4.1.convs.6.weight"])


def test_the_projections_that_dla_never_uses_are_left_out() -> None:
    unused = {f"level{tree}.project.{part}.weight": torch.zeros(1) for tree in ("3", "4", "4.tree1") for part in (0, 1)}
    used = {"level4.tree1.tree1.project.0.weight": torch.zeros(1)}
    assert list(rename(unused | used)) == ["stages.2.left.left.project.0.weight"]


@pytest.mark.parametrize(
    "name",
    ["layer1.0.conv4.weight", "layer1.0.se.fc3.weight", "conv2.weight", "level6.root.conv.weight", "fc", "head.weight"],
)
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}`")):
        rename({name: torch.zeros(1)})


def test_no_tensor_is_lost_to_another_of_the_same_place() -> None:
    with pytest.raises(PapertrailError, match=r"`base_layer\.0\.weight` has the place of another"):
        rename(dict.fromkeys(("conv1.0.weight", "base_layer.0.weight"), torch.zeros(1)))


def test_the_norm_behind_a_deep_stem_is_the_third() -> None:
    assert list(rename({"conv1.0.weight": torch.zeros(1), "bn1.bias": torch.zeros(1)})) == [
        "stem.0.0.weight", "stem.2.1.bias",
    ]  # fmt: skip
