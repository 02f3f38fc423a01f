from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from papers.ghostnet.model import GhostNet
from papers.ghostnet.upstream import rename
from shared.errors import PapertrailError
from shared.weights.convert import convert
from shared.weights.storage import fill, load_weights
from tests.statistics import with_statistics


@pytest.mark.parametrize("width", [0.5, 1.0, 1.3])
def test_every_published_name_finds_its_own_place(width: float, timm: Any) -> None:
    torch.manual_seed(0)
    names = {0.5: "ghostnet_050", 1.0: "ghostnet_100", 1.3: "ghostnet_130"}
    theirs = with_statistics(timm.create_model(names[width]))
    ours = GhostNet(width=width).eval()
    # Both networks hold their layers in the same order, which is an independent way to know the right place.
    assert list(rename(theirs.state_dict())) == list(ours.state_dict())
    fill(ours, rename(theirs.state_dict()), Path("timm"))
    images = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=0)


def test_published_weights_become_ours_in_one_step(tmp_path: Path, timm: Any) -> None:
    theirs = timm.create_model("ghostnet_050").state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "theirs.pth")
    convert("ghostnet", tmp_path / "theirs.pth", "ghostnet", {"width": 0.5}, 1000, tmp_path / "ours.safetensors")
    ours = load_weights(tmp_path / "ours.safetensors", None)
    assert torch.equal(ours["blocks.3.body.1.0.weight"], theirs["blocks.3.0.conv_dw.weight"])
    with pytest.raises(PapertrailError, match="shape"):
        convert("ghostnet", tmp_path / "theirs.pth", "ghostnet", {"width": 1.0}, 1000, tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


BLOCK = "blocks.0.0.ghost1.primary_conv.0.weight"


@pytest.mark.parametrize(
    "name",
    [
        "stem.conv.weight",
        "conv_stem",
        "blocks.0.0.ghost3.primary_conv.0.weight",
        "blocks.0.0.ghost1.third_conv.0.weight",
        "blocks.0.0.ghost1",
        "blocks.0.0.se.fc.weight",
        "blocks.0.0.shortcut.4.weight",
        "blocks.9.0.linear.weight",
    ],
)
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}`")):
        rename({name: torch.zeros(1), BLOCK: torch.zeros(1)})


def test_no_tensor_is_lost_to_another_of_the_same_place() -> None:
    state = dict.fromkeys((BLOCK, "blocks.8.0.conv.weight", "blocks.9.0.conv.weight"), torch.zeros(1))
    with pytest.raises(PapertrailError, match=r"`blocks\.9\.0\.conv\.weight` has the place of another"):
        rename(state)
