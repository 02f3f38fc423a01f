"""The pyramids, against wirings of their own that use the same layers, and against MMDetection's FPN."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

pytest.importorskip("mmcv.ops")

from mmdet.models.necks import FPN

from papers.adder_detection.adder import Adder2d
from papers.adder_detection.necks import Pyramid
from shared.measure import count

CHANNELS = [4, 6, 10]
PATHS = pytest.mark.parametrize("path", ["fpn", "pafpn", "r-pafpn"])


def made(**args: Any) -> Pyramid:
    torch.manual_seed(0)
    return Pyramid(CHANNELS, 8, num_outs=4 if args.get("extra") == "pool" else 5, **args).eval()


def levels(height: int = 16, width: int = 24, channels: list[int] = CHANNELS) -> tuple[Tensor, ...]:
    """Levels of an image whose sides need not be multiples of anything."""
    torch.manual_seed(1)
    found = []
    for wide in channels:
        found.append(torch.randn(2, wide, height, width))
        height, width = (height + 1) // 2, (width + 1) // 2
    return tuple(found)


def reference(neck: Any, inputs: tuple[Tensor, ...], path: str, shortcuts: bool, extra: str) -> list[Tensor]:
    """Levels 3, 4 and 5 written out one by one."""

    def through(module: Any, x: Tensor, stride: int = 1) -> Tensor:
        if not shortcuts:
            return module(x)
        return module.layer(x) + x[..., ::stride, ::stride]

    def up(x: Tensor, like: Tensor) -> Tensor:
        rows = [row * x.shape[2] // like.shape[2] for row in range(like.shape[2])]
        columns = [column * x.shape[3] // like.shape[3] for column in range(like.shape[3])]
        return x[:, :, rows][..., columns]

    a, b, c = (neck.lateral[number](inputs[number]) for number in range(3))
    if path == "r-pafpn":  # up from the finest level, then down
        heard_b = b + through(neck.down[0], a, 2)
        heard_c = c + through(neck.down[1], heard_b, 2)
        b, c = through(neck.merge[0], heard_b), through(neck.merge[1], heard_c)
    b = b + up(c, b)
    a = a + up(b, a)
    a, b, c = through(neck.smooth[0], a), through(neck.smooth[1], b), through(neck.smooth[2], c)
    if path == "pafpn":
        heard_b = b + through(neck.down[0], a, 2)
        heard_c = c + through(neck.down[1], heard_b, 2)
        b, c = through(neck.merge[0], heard_b), through(neck.merge[1], heard_c)
    if extra == "pool":
        return [a, b, c, c[..., ::2, ::2]]
    d = neck.extra[0](inputs[2]) if extra == "input" else through(neck.extra[0], c, 2)
    return [a, b, c, d, through(neck.extra[1], d.clamp(min=0), 2)]


@PATHS
@pytest.mark.parametrize("adder", [False, True])
@pytest.mark.parametrize("shortcuts", [False, True])
@pytest.mark.parametrize("extra", ["output", "input", "pool"])
def test_the_wiring(path: Any, adder: bool, shortcuts: bool, extra: Any) -> None:
    neck = made(path=path, adder=adder, shortcuts=shortcuts, extra=extra)
    inputs = levels()
    with torch.no_grad():
        expected = reference(neck, inputs, path, shortcuts, extra)
        for ours, theirs in zip(neck(inputs), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_the_paths_differ() -> None:
    """The reference is not fooled: with the same seed r-pafpn and pafpn hold the same layers in another order."""
    with torch.no_grad():
        first, second = (made(path=path)(levels()) for path in ("pafpn", "r-pafpn"))
    assert not any(torch.allclose(ours, theirs) for ours, theirs in zip(first, second, strict=True))


@PATHS
@pytest.mark.parametrize("sides", [(16, 24), (17, 23), (25, 13), (5, 3)])
def test_odd_sizes(path: Any, sides: tuple[int, int]) -> None:
    inputs = levels(*sides)
    with torch.no_grad():
        found = made(path=path, adder=True, shortcuts=True)(inputs)
    height, width = inputs[-1].shape[2:]
    expected = [tuple(level.shape[2:]) for level in inputs]
    for _ in range(2):
        height, width = (height + 1) // 2, (width + 1) // 2
        expected.append((height, width))
    assert [tuple(level.shape) for level in found] == [(2, 8, *sides) for sides in expected]


@pytest.mark.parametrize(
    ("extra", "theirs"),
    [
        ("output", {"add_extra_convs": "on_output", "relu_before_extra_convs": True}),
        ("input", {"add_extra_convs": "on_input", "relu_before_extra_convs": True}),
        ("pool", {}),
    ],
)
def test_with_convolutions_it_is_mmdetections_fpn(extra: Any, theirs: dict[str, Any]) -> None:
    ours = made(extra=extra)
    fpn = FPN(in_channels=CHANNELS, out_channels=8, num_outs=4 if extra == "pool" else 5, **theirs).eval()
    groups = {"lateral_convs": list(ours.lateral), "fpn_convs": [*ours.smooth, *ours.extra]}
    for name, layers in groups.items():
        for target, source in zip(getattr(fpn, name), [part for part in layers if isinstance(part, nn.Conv2d)],
                                  strict=True):  # fmt: skip
            target.conv.load_state_dict(source.state_dict())
    inputs = levels(17, 23)
    with torch.no_grad():
        for mine, other in zip(ours(inputs), fpn(inputs), strict=True):
            torch.testing.assert_close(mine, other)


@PATHS
def test_the_switch_moves_every_multiplication(path: Any) -> None:
    class Alone(nn.Module):
        def __init__(self, adder: bool) -> None:
            super().__init__()
            self.neck = made(path=path, adder=adder, shortcuts=True)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return self.neck(tuple(x.new_empty(1, *level.shape[1:]) for level in levels()))

    adding, plain = count(Alone(True), (3, 8, 8)), count(Alone(False), (3, 8, 8))
    assert (adding.macs, adding.adder_taps, plain.adder_taps) == (0, plain.macs, 0)
    assert plain.macs > 0


@PATHS
def test_every_layer_learns(path: Any) -> None:
    neck = made(path=path, adder=True, shortcuts=True).train()
    sum((level.square() * torch.rand(level.shape)).sum() for level in neck(levels())).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in neck.parameters())
    assert sum(isinstance(module, Adder2d) for module in neck.modules()) == (8 if path == "fpn" else 12)


def test_initialisation_leaves_adder_layers_alone() -> None:
    neck = made(adder=True)
    before = {name: tensor.clone() for name, tensor in neck.state_dict().items()}
    neck.init_weights()
    assert all(torch.equal(tensor, before[name]) for name, tensor in neck.state_dict().items())
    plain = made()
    plain.init_weights()
    biases = [value for name, value in plain.state_dict().items() if name.endswith(".bias")]
    assert biases and not any(value.any() for value in biases)


def test_an_unknown_path_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"the path is fpn, pafpn or r-pafpn, not bifpn"):
        made(path="bifpn")


def test_nearest_neighbours_of_the_reference_are_pytorchs() -> None:
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    rows = [row * 3 // 5 for row in range(5)]
    assert torch.equal(x[:, :, rows][..., rows], interpolate(x, size=(5, 5), mode="nearest"))
