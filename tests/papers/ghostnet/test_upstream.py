from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from papers.ghostnet.model import GhostNet
from papers.ghostnet.upstream import rename
from shared.checkpoints.convert import convert
from shared.checkpoints.load import fill
from shared.checkpoints.weights import load_weights
from shared.errors import PapertrailError


@pytest.mark.parametrize("width", [0.5, 1.0, 1.3])
def test_every_published_name_finds_its_own_place(width: float, timm: Any) -> None:
    theirs = timm.create_model({0.5: "ghostnet_050", 1.0: "ghostnet_100", 1.3: "ghostnet_130"}[width]).eval()
    ours = GhostNet(width=width).eval()
    # Both networks hold their layers in the same order, which is an independent way to know the right place.
    assert list(rename(theirs.state_dict())) == list(ours.state_dict())
    fill(ours, rename(theirs.state_dict()), Path("timm"))
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-4, rtol=0)


def test_published_weights_become_ours_in_one_step(tmp_path: Path, timm: Any) -> None:
    theirs = timm.create_model("ghostnet_050").state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "theirs.pth")
    convert("ghostnet", tmp_path / "theirs.pth", "ghostnet", {"width": 0.5}, 1000, tmp_path / "ours.safetensors")
    ours = load_weights(tmp_path / "ours.safetensors", None)
    assert torch.equal(ours["blocks.3.body.1.0.weight"], theirs["blocks.3.0.conv_dw.weight"])
    with pytest.raises(PapertrailError, match="shape"):
        convert("ghostnet", tmp_path / "theirs.pth", "ghostnet", {"width": 1.0}, 1000, tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize("name", ["stem.conv.weight", "blocks.0.0.ghost3.primary_conv.0.weight"])
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=name):
        rename({name: torch.zeros(1), "blocks.0.0.ghost1.primary_conv.0.weight": torch.zeros(1)})
