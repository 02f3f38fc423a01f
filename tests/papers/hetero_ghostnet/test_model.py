"""The G-Ghost stages against a plain reading of the equations and of the release, and the networks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from papers.ghostnet.model import GhostNet
from papers.ghostnet.upstream import rename
from papers.hetero_ghostnet import MODELS
from papers.hetero_ghostnet.model import (
    LEAST_BLOCKS,
    GhostStage,
    code_stage,
    g_ghost_regnetx,
    g_ghost_resnet,
    paper_stage,
    resnet_stage,
)
from papers.hetero_ghostnet.regnet import SIZES, Block, RegNetX, scaled
from shared.baselines import resnet
from tests.statistics import with_statistics

LETS = settings(max_examples=25, deadline=None)


def conv(x: Tensor, layer: nn.Module, stride: int = 1, groups: int = 1) -> Tensor:
    assert isinstance(layer, nn.Conv2d)
    return functional.conv2d(x, layer.weight, layer.bias, stride, layer.kernel_size[0] // 2, 1, groups)


def norm(y: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None
    mean, var, weight, bias = (
        one[:, None, None] for one in (layer.running_mean, layer.running_var, layer.weight, layer.bias)
    )
    return (y - mean) / torch.sqrt(var + layer.eps) * weight + bias


def x_block(x: Tensor, block: Any, stride: int, group_width: int) -> Tensor:
    """RegNet's X block, written out."""
    width = block.body[0][0].out_channels
    y = norm(conv(x, block.body[0][0]), block.body[0][1]).clamp(min=0)
    y = norm(conv(y, block.body[1][0], stride, width // min(width, group_width)), block.body[1][1]).clamp(min=0)
    y = norm(conv(y, block.body[2][0]), block.body[2][1])
    if stride != 1 or x.shape[1] != width:
        x = norm(conv(x, block.shortcut[0], stride), block.shortcut[1])
    return (x + y).clamp(min=0)


def mean(x: Tensor) -> Tensor:
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])


def made(stage: GhostStage) -> Any:
    return with_statistics(stage).double()


IMAGES = torch.randn(2, 6, 8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("blocks", "kernel", "ratio", "narrow"), [(2, 1, 0.5, 8), (4, 3, 0.25, 12), (5, 1, 0.7, 4)])
def test_the_paper_stage_is_the_equations(blocks: int, kernel: int, ratio: float, narrow: int) -> None:
    torch.manual_seed(0)
    stage = made(paper_stage(6, 16, blocks, 4, ratio=ratio, kernel=kernel))
    assert len(stage.path) == blocks - 1 and len(list(stage.last.parameters())) == 0
    first = x_block(IMAGES, stage.first, 2, 4)  # Y_1
    features, between = first, []
    for block in stage.path:
        features = x_block(features, block, 1, 4)  # Y_i^c
        assert features.shape[1] == narrow  # (1 - lambda) c, to a multiple of the group width
        between.append(features)
    z = torch.cat([mean(one) for one in between], 1)
    tau = z @ stage.mix.weight[:, :, 0, 0].T + stage.mix.bias  # W Pool(Z) + b
    ghosts = (norm(conv(first, stage.cheap[0]), stage.cheap[1]) + tau[:, :, None, None]).clamp(min=0)
    expected = torch.cat([features, ghosts], 1)
    torch.testing.assert_close(stage(IMAGES), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize(
    ("blocks", "kernel", "ratio", "narrow"), [(3, 1, 0.5, 6), (4, 3, 0.25, 12), (6, 5, 0.5, 6), (3, 1, 0.6, 6)]
)
def test_the_code_stage_is_what_the_release_does(blocks: int, kernel: int, ratio: float, narrow: int) -> None:
    torch.manual_seed(0)
    stage = made(code_stage(6, 16, blocks, 4, ratio=ratio, kernel=kernel))
    assert len(stage.path) == blocks - 2
    first = x_block(IMAGES, stage.first, 2, 4)
    features, between = first[:, :narrow], [first]
    for block in stage.path:
        features = x_block(features, block, 1, 3)  # three quarters of the group width
        between.append(features)
    hidden = torch.cat([mean(one) for one in between], 1)[:, :, None, None]
    hidden = norm(conv(hidden, stage.mix[0]), stage.mix[1]).clamp(min=0)
    tau = norm(conv(hidden, stage.mix[3]), stage.mix[4])
    ghosts = (norm(conv(first[:, narrow:], stage.cheap[1]), stage.cheap[2]) + tau).clamp(min=0)
    expected = x_block(torch.cat([features, ghosts], 1), stage.last, 1, 4)
    torch.testing.assert_close(stage(IMAGES), expected, atol=1e-10, rtol=0)


def bottleneck(x: Tensor, block: Any, stride: int = 1) -> Tensor:
    y = norm(conv(x, block.body[0][0]), block.body[0][1]).clamp(min=0)
    y = norm(conv(y, block.body[1][0], stride), block.body[1][1]).clamp(min=0)
    y = norm(conv(y, block.body[2][0]), block.body[2][1])
    if not isinstance(block.shortcut, nn.Identity):
        x = norm(conv(x, block.shortcut[0], stride), block.shortcut[1])
    return (x + y).clamp(min=0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("form", "entry"), [("code", "conv"), ("code", "slice"), ("paper", "conv")])
def test_the_stage_of_bottlenecks(form: Any, entry: Any, stride: int) -> None:
    torch.manual_seed(0)
    stage = made(resnet_stage(6, 4, 4, stride, form, entry))
    first = bottleneck(IMAGES, stage.first, stride)
    if form == "paper":
        features, seen, between = first, first, []
    elif entry == "conv":
        features, seen, between = conv(first, stage.entry), first, [first]
    else:
        features, seen, between = first[:, :8], first[:, 8:], [first]
    for block in stage.path:
        features = bottleneck(features, block)
        between.append(features)
    z = torch.cat([mean(one) for one in between], 1)[:, :, None, None]
    tau = conv(z, stage.mix) if form == "paper" else norm(conv(z, stage.mix[0]), stage.mix[1])
    layers = [layer for layer in stage.cheap if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
    ghosts = (norm(conv(seen, layers[0]), layers[1]) + tau).clamp(min=0)
    joined = torch.cat([features, ghosts], 1)
    expected = joined if form == "paper" else bottleneck(joined, stage.last)
    torch.testing.assert_close(stage(IMAGES), expected, atol=1e-10, rtol=0)


def test_c_ghostnet_equals_timms_ghostnet(timm: Any) -> None:
    torch.manual_seed(0)
    theirs = with_statistics(timm.create_model("ghostnet_100"))
    ours = MODELS["c_ghostnet"]().eval()
    assert isinstance(ours, GhostNet)
    ours.load_state_dict(rename(theirs.state_dict()))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = theirs(images)
        assert expected.std() > 1e-2
        torch.testing.assert_close(ours(images), expected, atol=1e-4, rtol=0)


# The narrow and the cheap channels of the released networks' G-Ghost stages, by size and stage.
RELEASED = {
    "002": {3: (72, 80), 4: (180, 188)},
    "004": {3: (72, 88), 4: (192, 192)},
    "006": {2: (36, 60), 3: (108, 132), 4: (252, 276)},
    "008": {2: (60, 68), 3: (144, 144), 4: (336, 336)},
    "016": {2: (72, 96), 3: (198, 210)},
    "032": {2: (72, 120), 3: (216, 216)},
    "040": {2: (120, 120), 3: (270, 290)},
    "064": {2: (168, 224), 3: (378, 406)},
    "080": {2: (90, 150), 3: (360, 360)},
    "120": {2: (168, 280), 3: (420, 476)},
    "160": {2: (192, 320), 3: (384, 512)},
    "320": {2: (252, 420), 3: (630, 714)},
}


@pytest.mark.parametrize("size", SIZES)
def test_every_released_size_has_its_ghost_stages(size: str) -> None:
    with torch.device("meta"):
        network = MODELS[f"g_ghost_regnetx_{size}"]()
    found = {
        number: (stage.path[0].body[2][0].out_channels, stage.cheap[1].out_channels)
        for number, stage in enumerate(network.stages, start=1)
        if isinstance(stage, GhostStage)
    }
    assert found == RELEASED[size]
    assert all(0.5 <= cheap / (narrow + cheap) <= 0.625 for narrow, cheap in found.values())


@pytest.mark.parametrize("form", ["code", "paper"])
@pytest.mark.parametrize("size", SIZES)
def test_a_ghost_stage_replaces_every_stage_of_three_blocks_but_the_first(size: str, form: Any) -> None:
    with torch.device("meta"):
        stages = g_ghost_regnetx(size, form).stages
    expected = [place > 0 and blocks >= LEAST_BLOCKS for place, blocks in enumerate(SIZES[size].depths)]
    assert [isinstance(stage, GhostStage) for stage in stages] == expected
    for stage, blocks in zip(stages, SIZES[size].depths, strict=True):
        assert sum(isinstance(layer, Block) for layer in stage.modules()) == blocks  # the depth is kept


@pytest.mark.parametrize("name", ["regnetx_002", "g_ghost_regnetx_002", "c_ghostnet"])
@pytest.mark.parametrize("channels", [1, 3])
def test_classes_and_channels(name: str, channels: int) -> None:
    network = MODELS[name](classes=7, in_channels=channels).eval()
    assert network(torch.randn(2, channels, 64, 32)).shape == (2, 7)


@LETS
@given(size=st.sampled_from(list(SIZES)), width=st.floats(0.1, 2))
def test_scaled_widths_are_whole_groups_near_the_asked_width(size: str, width: float) -> None:
    full, made = SIZES[size], scaled(SIZES[size], width)
    assert made.depths == full.depths and scaled(full, 1) == full
    for before, after in zip(full.widths, made.widths, strict=True):
        assert before < full.group_width or after % made.group_width == 0
        assert abs(after - before * width) <= max(made.group_width, 1)


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_the_stem_keeps_the_resolution_of_small_images(stem_stride: int) -> None:
    network = RegNetX("002", stem_stride=stem_stride).eval()
    last = network.stages(network.stem(torch.zeros(1, 3, 32, 32)))
    assert last.shape[2:] == (2 // stem_stride, 2 // stem_stride)


@pytest.mark.parametrize("name", ["regnetx_004", "g_ghost_regnetx_004", "g_ghost_resnet50"])
@pytest.mark.parametrize("form", ["code", "paper"])
def test_every_parameter_takes_part(name: str, form: str) -> None:
    torch.manual_seed(0)
    args = {"form": form} if name.startswith("g_ghost") else {}
    network = MODELS[name](classes=3, **args).train()
    network(torch.randn(4, 3, 64, 64)).square().sum().backward()
    for label, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), label


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: g_ghost_regnetx("002", "release"), "form must be code or paper, not release"),  # type: ignore[arg-type]
        (lambda: g_ghost_regnetx("003"), "size must be one of 002, .*, not 003"),
        (lambda: g_ghost_regnetx("002", kernel=2), "kernel must be odd, not 2"),
        (lambda: g_ghost_regnetx("032", ratio=0.9), "ratio 0.9 leaves 0 of 192 channels"),
        (lambda: g_ghost_regnetx("002", "paper", ratio=0), "ratio 0 leaves 152 of 152 channels"),
        (lambda: g_ghost_regnetx("002", width=-1), "width must be positive, not -1"),
        (lambda: RegNetX("002", stem_stride=4), "stem_stride must be 1 or 2, not 4"),
        (lambda: Block(8, 10, 1, 4), "out_channels must be a multiple of the group width 4, not 10"),
        (lambda: g_ghost_resnet(18), "depth must be 50, 101 or 152, .*, not 18"),
        (lambda: g_ghost_resnet(50, "release"), "form must be code or paper, not release"),  # type: ignore[arg-type]
        (lambda: g_ghost_resnet(50, entry="pool"), "entry must be conv or slice, not pool"),  # type: ignore[arg-type]
        (lambda: g_ghost_resnet(50, stages="two"), "stages must be all or third, not two"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_resnet_of_ghost_stages_keeps_its_taps_and_names_nothing_to_prune() -> None:
    with torch.device("meta"):
        network, plain = g_ghost_resnet(50).eval(), resnet.ResNet(50).eval()
        images = torch.empty(1, 3, 64, 64)
        taps, expected = network.features(images), plain.features(images)
    assert {name: tap.shape for name, tap in taps.items()} == {name: tap.shape for name, tap in expected.items()}
    assert network.prunable == ()
