"""timm's RegNetX and the names of the released G-Ghost-RegNet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from papers.ghostnet.model import GhostNet
from papers.hetero_ghostnet import MODELS
from papers.hetero_ghostnet.model import GhostStage
from papers.hetero_ghostnet.regnet import SIZES
from papers.hetero_ghostnet.upstream import rename
from shared.errors import PapertrailError
from shared.weights.convert import convert
from shared.weights.storage import fill, load_weights
from tests.statistics import with_statistics


@pytest.mark.parametrize("size", ["002", "004", "006", "008", "016", "080"])
def test_regnetx_equals_timms(size: str, timm: Any) -> None:
    torch.manual_seed(0)
    theirs = with_statistics(timm.create_model(f"regnetx_{size}"))
    ours = MODELS[f"regnetx_{size}"]().eval()
    fill(ours, rename(theirs.state_dict()), Path("timm"))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(images)
        scale = expected.std()
        assert scale > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images) / scale, expected / scale, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_has_the_shapes_of_timms(size: str, timm: Any) -> None:
    with torch.device("meta"):
        theirs, ours = timm.create_model(f"regnetx_{size}"), MODELS[f"regnetx_{size}"]()
    shapes = {name: tensor.shape for name, tensor in rename(theirs.state_dict()).items()}
    assert shapes == {name: tensor.shape for name, tensor in ours.state_dict().items()}


def released_names(network: Any) -> list[str]:
    """The names of the released G-Ghost-RegNet, in its own order: a stage registers its last block before the rest."""

    def norm(name: str) -> list[str]:
        return [f"{name}.{kind}" for kind in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]

    def block(name: str, projected: bool) -> list[str]:
        layers = [one for k in (1, 2, 3) for one in (f"{name}.conv{k}.weight", *norm(f"{name}.bn{k}"))]
        return layers + ([f"{name}.downsample.0.weight", *norm(f"{name}.downsample.1")] if projected else [])

    names = ["conv1.weight", *norm("bn1")]
    for number, stage in enumerate(network.stages, start=1):
        layer = f"layer{number}"
        if isinstance(stage, GhostStage):
            names += [*block(f"{layer}.base", True), *block(f"{layer}.end", False)]
            names += [f"{layer}.merge.1.weight", *norm(f"{layer}.merge.2")]
            names += [f"{layer}.merge.4.weight", *norm(f"{layer}.merge.5")]
            names += [f"{layer}.cheap.0.weight", *norm(f"{layer}.cheap.1")]
            names += [one for place in range(len(stage.path)) for one in block(f"{layer}.layers.{place}", False)]
        else:
            names += [one for place in range(len(stage)) for one in block(f"{layer}.{place}", place == 0)]
    return [*names, "fc.weight", "fc.bias"]


@pytest.mark.parametrize("size", SIZES)
def test_every_name_of_the_release_finds_a_place_of_its_own(size: str) -> None:
    """By hand, from the list of its layers: ours are renamed to theirs and back, and nothing is left over."""
    with torch.device("meta"):
        network = MODELS[f"g_ghost_regnetx_{size}"]()
    names = released_names(network)
    places = rename({name: torch.empty(0) for name in names})
    assert set(places) == set(network.state_dict()) and len(places) == len(names)
    theirs = dict(zip(places, names, strict=True))
    state = network.state_dict()
    back = rename({theirs[name]: tensor for name, tensor in state.items()})
    assert all(back[name] is tensor for name, tensor in state.items())


def test_published_weights_become_ours_in_one_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MODELS["g_ghost_regnetx_002"](classes=7)
    places = rename({name: torch.empty(0) for name in released_names(network)})
    ours: dict[str, Tensor] = network.state_dict()
    theirs = {name: ours[place] for place, name in zip(places, released_names(network), strict=True)}
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "theirs.pth")
    convert("hetero_ghostnet", tmp_path / "theirs.pth", "g_ghost_regnetx_002", {}, 7, tmp_path / "ours.safetensors")
    kept = load_weights(tmp_path / "ours.safetensors", None)
    assert all(torch.equal(kept[name], tensor) for name, tensor in ours.items())
    with pytest.raises(PapertrailError):
        convert("hetero_ghostnet", tmp_path / "theirs.pth", "regnetx_002", {}, 7, tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


def test_c_ghostnet_takes_the_names_of_ghostnet(timm: Any) -> None:
    with torch.device("meta"):
        theirs, ours = timm.create_model("ghostnet_100"), GhostNet()
    assert list(rename(theirs.state_dict())) == list(ours.state_dict())


@pytest.mark.parametrize(
    "name", ["layer5.0.conv1.weight", "layer2.tail.conv1.weight", "layer2.base.conv4.weight", "s1.b1.se.weight", "stem"]
)
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}`")):
        rename({name: torch.zeros(1)})


def test_no_tensor_is_lost_to_another_of_the_same_place() -> None:
    with pytest.raises(PapertrailError, match=r"`stem\.conv\.weight` has the place of another"):
        rename(dict.fromkeys(("conv1.weight", "stem.conv.weight"), torch.zeros(1)))
