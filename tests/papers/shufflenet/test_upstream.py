"""The official code's weights under our names, against a reading of that code of our own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from papers.shufflenet.model import ShuffleNet, stage_channels, stem_channels
from papers.shufflenet.upstream import SEEN, rename
from shared.errors import PapertrailError
from shared.weights.convert import convert
from shared.weights.storage import fill, load_weights

UNITS = [(stage, number) for stage, count in enumerate((4, 8, 4)) for number in range(count)]


def official_state(groups: int, scale: float, classes: int = 5) -> dict[str, Tensor]:
    """Names and shapes of the official network, with drawn values."""
    torch.manual_seed(0)
    state: dict[str, Tensor] = {}

    def conv_norm(conv: str, norm: str, *shape: int) -> None:
        state[f"{conv}.weight"] = torch.randn(shape) / shape[1] ** 0.5 / shape[2]
        state[f"{norm}.weight"], state[f"{norm}.bias"] = torch.rand(shape[0]) + 0.5, torch.randn(shape[0]) / 5
        state[f"{norm}.running_mean"], state[f"{norm}.running_var"] = (
            torch.randn(shape[0]) / 5,
            torch.rand(shape[0]) + 1,
        )
        state[f"{norm}.num_batches_tracked"] = torch.tensor(3)

    before = stem_channels(groups, scale)
    conv_norm("first_conv.0", "first_conv.1", before, 3, 3, 3)
    for place, (stage, number) in enumerate(UNITS):
        after = stage_channels(groups, scale)[stage]
        one, two = f"features.{place}.branch_main_1", f"features.{place}.branch_main_2"
        conv_norm(f"{one}.0", f"{one}.1", after // 4, before // (groups if place else 1), 1, 1)
        conv_norm(f"{one}.3", f"{one}.4", after // 4, 1, 3, 3)
        conv_norm(f"{two}.0", f"{two}.1", after if number else after - before, after // 4 // groups, 1, 1)
        before = after
    state["classifier.0.weight"] = torch.randn(classes, before) / before**0.5
    return state


def official(state: dict[str, Tensor], images: Tensor, groups: int) -> Tensor:
    """The official forward pass: depthwise, then the shuffle of (n, g); the first unit's first filters ungrouped."""

    def conv_norm(x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{conv}.weight"]
        x = functional.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2, groups=groups)
        mean, var = state[f"{norm}.running_mean"], state[f"{norm}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{norm}.weight"], state[f"{norm}.bias"])

    x = functional.max_pool2d(conv_norm(images, "first_conv.0", "first_conv.1", 2).relu(), 3, 2, 1)
    for place, (_, number) in enumerate(UNITS):
        one, two = f"features.{place}.branch_main_1", f"features.{place}.branch_main_2"
        y = conv_norm(x, f"{one}.0", f"{one}.1", groups=groups if place else 1).relu()
        y = conv_norm(y, f"{one}.3", f"{one}.4", 1 if number else 2, y.shape[1])
        if groups > 1:
            y = y.unflatten(1, (y.shape[1] // groups, groups)).transpose(1, 2).flatten(1, 2)
        y = conv_norm(y, f"{two}.0", f"{two}.1", groups=groups)
        x = (x + y).relu() if number else torch.cat([functional.avg_pool2d(x, 3, 2, 1), y.relu()], 1)
    return x.mean((2, 3)) @ state["classifier.0.weight"].T


@pytest.mark.parametrize(("groups", "scale"), [(1, 0.25), (3, 0.5), (8, 1.0)])
def test_every_official_name_finds_its_own_place(groups: int, scale: float) -> None:
    state = official_state(groups, scale)
    ours = ShuffleNet(groups, scale, permutation="code", classes=5).eval()
    assert rename(state).keys() == ours.state_dict().keys()
    fill(ours, rename(state), Path("official"))
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = official(state, images, groups)
        assert expected.std() > 1e-2  # otherwise any two networks are equal to 1e-4
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=1e-4)


def test_official_weights_become_ours_in_one_step_and_bring_their_permutation(tmp_path: Path) -> None:
    state = official_state(3, 0.5)
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "theirs.pth")
    for permutation in ("paper", "code"):  # the weights say which: an argument forgotten makes no other network
        args = {"groups": 3, "scale": 0.5, "permutation": permutation}
        convert("shufflenet", tmp_path / "theirs.pth", "shufflenet", args, 5, tmp_path / f"{permutation}.safetensors")
        ours = load_weights(tmp_path / f"{permutation}.safetensors", None)
        assert torch.equal(ours["stages.2.3.expand.0.weight"], state["features.15.branch_main_2.0.weight"])
    with pytest.raises(PapertrailError, match="shape"):
        args = {"groups": 3, "scale": 1.0}
        convert("shufflenet", tmp_path / "theirs.pth", "shufflenet", args, 5, tmp_path / "no.safetensors")
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.parametrize("name", [
    "first_conv.2.weight", "features.16.branch_main_1.0.weight", "features.0.branch_main_1.2.weight", "fc.weight",
])  # fmt: skip
def test_a_strange_name_is_named(name: str) -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{name}`")):
        rename({**official_state(3, 0.5), name: torch.zeros(1)})


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(PapertrailError, match=re.escape(f"`{SEEN}`")):
        rename({"conv1.weight": torch.zeros(1)})
