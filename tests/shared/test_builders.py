"""What a builder can be given: values of the kind that it states, and a network with something in every layer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from torch import nn

from papers import ghostnet
from shared.builders import build
from shared.errors import PapertrailError, UsageError

if TYPE_CHECKING:
    from shared.layers import Attention


def made(
    widen: bool,
    width: float = 1.0,
    depth: int | None = None,
    pad: int = 0,
    kernel: str = "3",
    head: Literal["bias", "norm"] = "bias",
    block: Callable[[int], nn.Module] = nn.BatchNorm2d,
    *,
    free: Any = None,
    classes: int = 10,
    in_channels: int = 3,
) -> nn.Module:
    """A builder with an argument of each kind."""
    convolution = nn.Conv2d(in_channels, int(16 * width), int(kernel), padding=pad)
    return nn.Sequential(*[convolution] * (depth or 1), nn.Flatten(), nn.LazyLinear(classes))


def unread(attention: Attention | None = None, width=1, classes=10):  # type: ignore[no-untyped-def]
    """Annotations that only type checkers can read, and arguments without any."""
    return nn.Conv2d(3, width, 1)


def broken(fault: str, classes: int = 10) -> nn.Module:
    """Raises whatever a paper's code may raise."""
    raise {"key": KeyError, "assert": AssertionError, "import": ImportError, "own": PapertrailError}[fault]("one\ntwo")


@pytest.fixture(autouse=True)
def builders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, builder in {"made": functools.partial(made, False), "unread": unread, "broken": broken}.items():
        monkeypatch.setitem(ghostnet.MODELS, name, builder)


def network(model: str, args: dict[str, Any], classes: int = 10, channels: int = 3) -> nn.Module:
    with torch.device("meta"):
        return build("ghostnet", model, args, classes, channels)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"width": "wide"}, "`width` is to be a number, not 'wide'"),
        ({"width": True}, "`width` is to be a number, not True"),
        ({"width": 0}, "`width` is to be a number above 0, at most 1,000,000, not 0"),
        ({"width": -0.5}, "`width` is to be a number above 0"),
        ({"width": float("nan")}, "`width` is to be a number above 0"),
        ({"width": 10**30}, "`width` is to be a number above 0"),
        ({"width": 1e-9}, "cannot be built with width=1e-09, classes=10: `0.weight` would be empty"),
        ({"depth": 1.5}, "`depth` is to be a whole number, at most 1,000,000, not 1.5"),
        ({"depth": 10**30}, "`depth` is to be a whole number, at most 1,000,000, not 1000"),
        ({"pad": "a-b"}, "`pad` is to be a whole number, not 'a-b'"),
        ({"kernel": 1.5}, "`kernel` is to be a word, not 1.5"),
        ({"kernel": "X"}, "cannot be built with kernel=X, classes=10: invalid literal for int"),
        ({"kernel": -1}, "cannot be built with kernel=-1, classes=10: Trying to create tensor with negative"),
        ({"head": "norms"}, "`head` is to be one of bias, norm, not 'norms'"),
        ({"block": "norm"}, "takes no `block`; there are width, depth, pad, kernel, head, free"),
        ({"widht": 1}, "takes no `widht`; did you mean width?"),
        ({"classes": 3}, "takes no `classes`; there are"),
        ({"in_channels": 1}, "takes no `in_channels`; there are"),
    ],
)
def test_a_value_that_makes_no_network_is_named_with_its_argument(args: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        network("made", args)
    assert message in str(caught.value)
    assert str(caught.value).startswith("papers/ghostnet: `made`") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("classes", "channels"), [(0, 3), (-1, 3), (True, 3), (10, 0), (10, 10**30)])
def test_classes_and_channels_that_make_no_network_are_named(classes: int, channels: int) -> None:
    with pytest.raises(UsageError, match=r"`(classes|in_channels)` is to be a whole number"):
        network("made", {}, classes, channels)


def test_what_fits_is_built() -> None:
    args = {"width": 2, "depth": 3, "pad": 0, "kernel": 1, "head": "norm", "free": "x"}
    layers = network("made", args, classes=7, channels=1)
    assert layers[0].weight.shape == (32, 1, 1, 1) and len(layers) == 5  # type: ignore[index, arg-type]
    assert network("unread", {"width": 4}).weight.shape == (4, 3, 1, 1)
    with pytest.raises(UsageError, match="`unread` takes no `in_channels`: it sees images in colour alone"):
        network("unread", {}, channels=1)


def test_whatever_a_builder_raises_is_one_line_but_what_says_more_itself() -> None:
    for fault in ("key", "assert"):
        with pytest.raises(UsageError, match=rf"`broken` cannot be built with fault={fault}, classes=10: '?one"):
            network("broken", {"fault": fault})
    for fault, kind in {"import": ImportError, "own": PapertrailError}.items():
        with pytest.raises(kind, match=r"^one"):
            network("broken", {"fault": fault})
