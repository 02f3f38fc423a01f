"""Networks such as anyone writes, one for each way in which a forward treats channels, and what surgery says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from shared.layers.conv import conv_bn
from shared.layers.select import ChannelSelect
from shared.layers.widths import parse_widths

WIDTH, SIDE = 8, 8
SHAPE = (3, SIDE, SIDE)
Layers = Callable[[int], dict[str, Any]]
Body = Callable[[Any, Tensor], Any]


@dataclasses.dataclass(frozen=True)
class Case:
    """A network of a width, and what surgery does without the channels `drop` of its `prunable` layers.

    Attributes:
        layers: from the width: those besides `conv` and `norm`, or instead of them.
        body: the forward.
        refused: a pattern for the error; empty where surgery goes well.
        drop: the channels that go.
        prunable: the layers that lose them.
        dtype: in which the outputs are compared.
    """

    layers: Layers
    body: Body
    refused: str = ""
    drop: tuple[int, ...] = (1, 4, 6)
    prunable: tuple[str, ...] = ("norm",)
    dtype: torch.dtype = torch.float64


class Own(nn.Module):
    """The network of a case."""

    def __init__(self, case: Case, width: int = WIDTH) -> None:
        super().__init__()
        self.prunable, self.body = case.prunable, case.body
        layers = {"conv": nn.Conv2d(3, width, 3, padding=1), "norm": nn.BatchNorm2d(width)} | case.layers(width)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, images: Tensor) -> Any:
        return self.body(self, images)

    def bare(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images))

    def act(self, images: Tensor) -> Tensor:
        return self.bare(images).relu()


class Built(nn.Module):
    """A network as a paper's builder makes it, with what it does between its two branches and its last layer."""

    prunable = ("left.1", "right.1")

    def __init__(self, body: Body, widths: str = "") -> None:
        super().__init__()
        self.body, self.widths = body, parse_widths(widths, [WIDTH, WIDTH])
        self.left, self.right = (conv_bn(3, width, 1, act=nn.ReLU) for width in self.widths)
        self.head = nn.Conv2d(sum(self.widths), 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(self, torch.cat([self.left(images), self.right(images)], 1)))


# Layers


def one(channels: Callable[[int], int] = lambda w: w, **more: Any) -> Layers:
    """A last convolution, of so many channels, and others."""
    return lambda w: {"head": nn.Conv2d(channels(w), 4, 1)} | {name: make(w) for name, make in more.items()}


def last(make: Callable[[int], nn.Module], **more: Any) -> Layers:
    """Another last layer."""
    return one(**more | {"head": make})


def conv(channels: int, outputs: int, **more: Any) -> Callable[[int], nn.Module]:
    """A 1x1 convolution whose channels do not follow the width."""
    return lambda _: nn.Conv2d(channels, outputs, 1, **more)


def tied(w: int) -> dict[str, Any]:
    head, other = nn.Conv2d(w, 4, 1), nn.Conv2d(w, 4, 1)
    other.weight = head.weight
    return {"head": head, "other": other}


def stored(w: int) -> dict[str, Any]:
    """A tensor that is no buffer."""

    class Stored(nn.Module):
        scale = torch.rand(w, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x * self.scale

    return one(scale=lambda _: Stored())(w)


def inner(*names: str) -> Layers:
    """One residual branch, of several names."""

    def layers(w: int) -> dict[str, Any]:
        branch = Inner(w)
        others = {"conv": nn.Identity(), "norm": nn.Identity(), "head": nn.Conv2d(3, 4, 1)}
        return others | dict.fromkeys(names, branch)

    return layers


class Inner(nn.Module):
    """A residual branch whose inner channels can go."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.back = nn.Conv2d(3, width, 1), nn.BatchNorm2d(width), nn.Conv2d(width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.back(self.norm(self.conv(x)).relu())


class Scale(nn.Module):
    """A factor for each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.view(1, -1, 1, 1)


class Standardised(nn.Conv2d):
    """A convolution that standardises its filters, over all of their inputs."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


# Forwards


def head(work: Callable[[Tensor], Tensor]) -> Body:
    """What comes between the activation and the last layer."""
    return lambda m, x: m.head(work(m.act(x)))


def bare(work: Callable[[Tensor], Tensor]) -> Body:
    """What comes between the norm and the last layer."""
    return lambda m, x: m.head(work(m.bare(x)))


def by(name: str) -> Body:
    """A layer of this name comes between the activation and the last layer."""
    return lambda m, x: m.head(getattr(m, name)(m.act(x)))


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def shuffled(x: Tensor) -> Tensor:
    return x.view(len(x), 2, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


def halves(m: Any, x: Tensor) -> Tensor:
    first, second = m.act(x).chunk(2, 1)
    return m.head(first) - m.second(second)


def parts(m: Any, x: Tensor) -> Tensor:
    first, second = m.act(x).split([3, 5], 1)
    return m.head(first) - m.second(second)


def set_part(m: Any, x: Tensor) -> Tensor:
    y = torch.zeros(len(x), m.head.in_channels, *x.shape[2:], dtype=x.dtype, device=x.device)
    y[:, : m.conv.out_channels] = m.act(x)
    return m.head(y)


def gram(x: Tensor) -> Tensor:
    """(N, places, places)"""
    return tokens(x) @ tokens(x).transpose(1, 2)


def with_maximum(x: Tensor) -> Tensor:
    return torch.cat([x, x.amax(1, keepdim=True)], 1)


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over places."""
    found = functional.scaled_dot_product_attention(*map(tokens, (q, k, v)))
    return found.transpose(1, 2).unflatten(2, (SIDE, SIDE))


def layer_attention(m: Any, x: Tensor) -> Tensor:
    y = tokens(m.act(x))
    return m.head(m.attend(y, y, y)[0])


def excited(m: Any, x: Tensor) -> Tensor:
    y = m.act(x)
    return m.head(y * torch.sigmoid(m.up(functional.relu(m.down(y.mean((2, 3), keepdim=True))))))


def efficient(m: Any, x: Tensor) -> Tensor:
    y = m.act(x)
    return m.head(y * m.slide(y.mean((2, 3))[:, None]).sigmoid().transpose(1, 2)[..., None])


def placed(m: Any, x: Tensor) -> Tensor:
    """A factor for each channel and place."""
    return m.head(m.act(x) * m.places(torch.arange(SIDE, device=x.device)).T[None, :, None])


def around(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return m.head(y * m.norm(y).relu())


def two_outputs(m: Any, x: Tensor) -> Any:
    y = m.act(x)
    return m.head(y).mean((2, 3)), {"maps": [m.head(y)]}


def with_features(m: Any, x: Tensor) -> Any:
    y = m.act(x)
    return {"maps": y, "logits": m.head(y).mean((2, 3))}


def chosen(m: Any, x: Tensor, which: Any) -> Tensor:
    return m.head(x if which else 2 * x)


def settles(m: Any, x: Tensor) -> Tensor:
    """A loop that can go on for ever."""
    y = m.act(x)
    while y.norm() > 1:
        y = y * y.norm()
    return m.head(y)


def changed_in_place(m: Any, x: Tensor) -> Tensor:
    x.sub_(1)
    y = m.bare(x)
    y[:, :, 0] *= 2
    y.relu_().mul_(3)
    return m.head(y)


MOVED = {
    "cat behind the images": Case(one(lambda w: 3 + w), lambda m, x: m.head(torch.cat([x, m.act(x)], 1))),
    "cat behind pooled images": Case(
        one(lambda w: 3 + w),
        lambda m, x: m.head(torch.cat([functional.avg_pool2d(x, 2), functional.max_pool2d(m.act(x), 2)], 1)),
    ),
    "cat with itself": Case(one(lambda w: 2 * w), head(lambda y: torch.cat([y, -y], 1))),
    "cat of two norms": Case(
        one(lambda w: 2 * w, second=lambda w: nn.Conv2d(3, w, 1), other=nn.BatchNorm2d),
        lambda m, x: m.head(torch.cat([m.other(m.second(x)), m.bare(x)], 1).relu()),
        prunable=("norm", "other"),
    ),
    "chunk": Case(one(lambda w: w // 2, second=lambda w: nn.Conv2d(w // 2, 4, 1)), halves, drop=(1, 6)),
    "chunk of other halves": Case(
        one(lambda w: w // 2, second=lambda w: nn.Conv2d(w // 2, 4, 1)), halves, "head: .*split", drop=(0, 1, 2)
    ),
    "nn.ChannelShuffle": Case(one(mix=lambda _: nn.ChannelShuffle(2)), by("mix"), drop=(1, 5)),
    "nn.ChannelShuffle of others": Case(
        one(mix=lambda _: nn.ChannelShuffle(2)), by("mix"), "head: .*shuffle", drop=(1, 6)
    ),
    "nn.ChannelShuffle of an odd number": Case(one(mix=lambda _: nn.ChannelShuffle(2)), by("mix"), "mix: "),
    "view and transpose": Case(one(), head(shuffled), drop=(1, 5)),
    "view and transpose of others": Case(one(), head(shuffled), "head: .*transpose", drop=(1, 6)),
    "view and transpose of an odd number": Case(one(), head(shuffled), r"Own: .*x\.view"),
    "padding in front": Case(one(lambda w: w + 2), head(lambda y: functional.pad(y, (0, 0, 0, 0, 2, 0)))),
    "padding up to a number": Case(
        one(lambda _: 12), head(lambda y: functional.pad(y, (0, 0, 0, 0, 0, 12 - y.shape[1]))), "head: .*constantpad"
    ),
    "set into zeros": Case(one(lambda w: w + 2), set_part),
    "slice": Case(one(lambda _: 4), head(lambda y: y[:, :4]), "head: .*slice"),
    "every second": Case(one(lambda w: w // 2), head(lambda y: y[:, ::2]), "head: .*slice", drop=(0, 3)),
    "split": Case(one(lambda _: 3, second=conv(5, 4)), parts, r"Own: .*split"),
    "unbind": Case(one(lambda _: 1), head(lambda y: y.unbind(1)[2][:, None]), "head: .*unbind"),
    "unbind and stack": Case(one(), head(lambda y: torch.stack(y.unbind(1), 1))),
    "stack": Case(last(lambda w: nn.Conv3d(w, 4, 1)), head(lambda y: torch.stack([y, 2 * y], 2))),
    "flip": Case(one(), head(lambda y: y.flip(1))),
    "roll": Case(one(), head(lambda y: y.roll(1, 1))),
    "repeat": Case(one(lambda w: 2 * w), head(lambda y: y.repeat(1, 2, 1, 1))),
    "repeat_interleave": Case(one(lambda w: 2 * w), head(lambda y: y.repeat_interleave(2, 1))),
    "index_select": Case(
        one(lambda _: 3),
        head(lambda y: y.index_select(1, torch.tensor([7, 0, 3], device=y.device))),
        "Own: .*index_select",
    ),
    "gather": Case(one(lambda _: 2), head(lambda y: y.gather(1, y[:, :2].long().clamp(0, 3))), "head: .*gather"),
    "sort": Case(one(), head(lambda y: y.sort(1).values), "head: .*sort"),
    "PixelShuffle of whole channels": Case(
        one(lambda w: w // 4, up=lambda _: nn.PixelShuffle(2)), by("up"), drop=(4, 5, 6, 7)
    ),
    "PixelShuffle of others": Case(
        one(lambda w: w // 4, up=lambda _: nn.PixelShuffle(2)), by("up"), "head: .*pixelshuffle", drop=(1, 3, 4, 6)
    ),
    "PixelShuffle of an odd number": Case(one(lambda w: w // 4, up=lambda _: nn.PixelShuffle(2)), by("up"), "up: "),
    "PixelUnshuffle": Case(one(lambda w: 4 * w, down=lambda _: nn.PixelUnshuffle(2)), by("down")),
    "flatten": Case(last(lambda w: nn.Linear(w * SIDE * SIDE, 4)), head(lambda y: y.flatten(1))),
    "flatten with channels last": Case(
        last(lambda w: nn.Linear(w * SIDE * SIDE, 4)), head(lambda y: y.permute(0, 2, 3, 1).flatten(1))
    ),
    "tokens": Case(last(lambda w: nn.Linear(w, 4)), head(tokens)),
    "places read": Case(last(lambda _: nn.Linear(SIDE, 4, bias=False)), lambda m, x: m.head(m.act(x)).sum(1)),
    "places read with a bias": Case(last(lambda _: nn.Linear(SIDE, 4)), lambda m, x: m.head(m.act(x)).sum(1), "Own: "),
}
MIXED = {
    "mean": Case(one(lambda _: 1), head(lambda y: y.mean(1, keepdim=True)), "head: .*mean"),
    "sum": Case(one(lambda _: 1), head(lambda y: y.sum(1, keepdim=True))),
    "amax": Case(one(lambda _: 1), head(lambda y: y.amax(1, keepdim=True))),
    "amax of many that can be negative": Case(
        one(lambda _: 1, conv=lambda w: nn.Conv2d(3, 8 * w, 1), norm=lambda w: nn.BatchNorm2d(8 * w)),
        bare(lambda y: y.amax(1, keepdim=True)),
        "head: .*amax",
    ),
    "amax that what follows hides": Case(
        one(lambda w: w + 1, tail=lambda _: nn.BatchNorm2d(4), end=conv(4, 3)),
        lambda m, x: m.end((m.tail(m.head(with_maximum(m.bare(x)))) - 5).relu()),
        "head: .*amax",
        drop=(7,),
    ),
    "amin": Case(one(lambda _: 1), head(lambda y: y.amin(1, keepdim=True)), "head: .*amin"),
    "variance": Case(one(lambda _: 1), head(lambda y: y.var(1, keepdim=True)), "head: .*var"),
    "normalize": Case(one(), head(lambda y: functional.normalize(y, dim=1))),
    "softmax": Case(one(), head(lambda y: y.softmax(1)), "head: .*softmax"),
    "cumsum": Case(one(), head(lambda y: y.cumsum(1)), "head: .*cumsum"),
    "maxout": Case(one(lambda w: w // 2), head(lambda y: y.unflatten(1, (-1, 2)).amax(2)), "Own: .*unflatten"),
    "glu": Case(one(lambda w: w // 2), bare(lambda y: functional.glu(y, 1)), "Own: .*glu"),
    "LocalResponseNorm": Case(one(scale=lambda _: nn.LocalResponseNorm(3)), by("scale"), "scale: "),
    "places by places": Case(last(lambda _: nn.Linear(SIDE * SIDE, 4)), head(gram)),
    "places by places, flattened": Case(last(lambda _: nn.Linear(SIDE**4, 4)), head(lambda y: gram(y).flatten(1))),
    "places by places, as maps": Case(one(lambda _: SIDE * SIDE), head(lambda y: gram(y).unflatten(2, (SIDE, SIDE)))),
    "channels by channels": Case(
        last(lambda w: nn.Linear(w * w, 4)), head(lambda y: (tokens(y).transpose(1, 2) @ tokens(y)).flatten(1))
    ),
    "einsum": Case(one(lambda _: 1), head(lambda y: torch.einsum("nchw,nchw->nhw", y, y)[:, None])),
    "attention that reads": Case(
        one(lambda _: 6, **{name: lambda w: nn.Conv2d(w, 6, 1) for name in "qkv"}),
        lambda m, x: m.head(attended(*(layer(m.act(x)) for layer in (m.q, m.k, m.v)))),
    ),
    "values of attention": Case(
        one(q=conv(3, 6), k=conv(3, 6)), lambda m, x: m.head(attended(m.q(x), m.k(x), m.bare(x)))
    ),
    "queries of attention": Case(
        one(k=lambda w: nn.Conv2d(3, w, 1)),
        lambda m, x: m.head(attended(m.bare(x), m.k(x), m.k(x))),
        "Own: .*scaled_dot_product_attention",
    ),
}
SHIFTED = {
    "sigmoid": Case(one(), head(torch.sigmoid), "head: .*sigmoid"),
    "plus one": Case(one(), head(lambda y: y + 1), "head: .*add"),
    "softmax over places": Case(one(), head(lambda y: y.flatten(2).softmax(2).view_as(y)), "head: .*softmax"),
    "another norm": Case(one(other=nn.BatchNorm2d), by("other"), "other behind it shifts what is zero"),
    "silu": Case(one(), bare(functional.silu)),
    "hardswish": Case(one(), bare(functional.hardswish)),
    "relu6 and leaky_relu": Case(one(), bare(lambda y: functional.leaky_relu(functional.relu6(y)))),
    "gelu and tanh": Case(one(), bare(lambda y: functional.gelu(y).tanh())),
    "hardshrink": Case(one(), bare(lambda y: functional.hardshrink(y, 0.1))),
    "interpolate": Case(one(), head(lambda y: functional.interpolate(y, scale_factor=2, mode="bilinear"))),
}
KINDS = {
    "groups": Case(last(lambda w: nn.Conv2d(w, 4, 1, groups=2)), head(torch.clone), drop=(1, 6)),
    "uneven groups": Case(
        last(lambda w: nn.Conv2d(w, 4, 1, groups=2)), head(torch.clone), "head: its 2 groups would differ"
    ),
    "made in uneven groups": Case(
        one(wide=lambda w: nn.Conv2d(w, w, 1, groups=2)),
        lambda m, x: m.head(m.norm(m.wide(m.conv(x))).relu()),
        "wide: its 2 groups would differ",
    ),
    "depthwise": Case(one(deep=lambda w: nn.Conv2d(w, w, 3, groups=w, bias=False)), by("deep")),
    "depthwise with a bias": Case(
        one(deep=lambda w: nn.Conv2d(w, w, 3, groups=w)), by("deep"), "deep behind it shifts what is zero"
    ),
    "depthwise with two outputs each": Case(
        one(lambda w: 2 * w, deep=lambda w: nn.Conv2d(w, 2 * w, 3, groups=w)), by("deep"), "deep: its 8 groups"
    ),
    "depthwise before the norm": Case(
        one(deep=lambda w: nn.Conv2d(w, w, 3, groups=w)), lambda m, x: m.head(m.norm(m.deep(m.conv(x))).relu())
    ),
    "transposed": Case(last(lambda w: nn.ConvTranspose2d(w, 4, 2)), head(torch.clone), "head has its channels"),
    "made by a transposed one": Case(
        one(conv=lambda w: nn.ConvTranspose2d(3, w, 2)), head(torch.clone), "conv has its channels"
    ),
    "one dimension": Case(last(lambda w: nn.Conv1d(w, 4, 1)), head(lambda y: y.flatten(2))),
    "Bilinear": Case(
        last(lambda w: nn.Bilinear(w, w, 4)),
        lambda m, x: m.head(m.act(x).mean((2, 3)), m.act(x).mean((2, 3))),
        r"head\.weight has its channels",
    ),
    "PReLU": Case(one(slope=nn.PReLU), by("slope"), "slope has its channels and is of no known kind"),
    "PReLU with one slope": Case(one(slope=lambda _: nn.PReLU()), by("slope")),
    "PReLU with one slope before": Case(
        one(slope=lambda _: nn.PReLU()), lambda m, x: m.head(m.norm(m.slope(m.conv(x))))
    ),
    "LayerNorm": Case(
        last(lambda w: nn.Linear(w, 4), scale=nn.LayerNorm),
        lambda m, x: m.head(m.scale(tokens(m.act(x)))),
        "scale has its",
    ),
    "layer_norm": Case(
        last(lambda w: nn.Linear(w, 4)),
        head(lambda y: functional.layer_norm(tokens(y), (y.shape[1],))),
        "head: .*layernorm",
    ),
    "LayerNorm over places": Case(
        one(scale=lambda _: nn.LayerNorm((SIDE + 1, SIDE + 1), bias=False)),
        lambda m, x: m.head(m.scale(functional.pad(m.act(x), (1, 0, 1, 0)))),
    ),
    "GroupNorm": Case(one(scale=lambda w: nn.GroupNorm(1, w)), by("scale"), "scale has its channels"),
    "GroupNorm without scale": Case(
        one(scale=lambda w: nn.GroupNorm(1, w, affine=False)), by("scale"), "head: .*groupnorm"
    ),
    "InstanceNorm": Case(one(scale=nn.InstanceNorm2d), by("scale")),
    "InstanceNorm with scale": Case(
        one(scale=lambda w: nn.InstanceNorm2d(w, affine=True)), by("scale"), "scale has its channels"
    ),
    "BatchNorm without running statistics": Case(
        one(norm=lambda w: nn.BatchNorm2d(w, track_running_stats=False)), head(torch.clone)
    ),
    "LSTM": Case(
        last(lambda w: nn.LSTM(w, 4, batch_first=True)),
        lambda m, x: m.head(tokens(m.act(x)))[0][:, -1],
        r"head\.weight_ih_l0 has its channels",
    ),
    "MultiheadAttention": Case(
        last(lambda w: nn.Linear(w, 4), attend=lambda w: nn.MultiheadAttention(w, 2, batch_first=True)),
        layer_attention,
        r"attend\.\S+ has its channels",
    ),
    "layer scale": Case(one(scale=Scale), by("scale"), r"scale\S* has its channels"),
    "layer scale before": Case(one(scale=Scale), lambda m, x: m.head(m.norm(m.scale(m.conv(x)))), r"scale\S* has its"),
    "Embedding": Case(one(places=lambda w: nn.Embedding(SIDE, w)), placed, r"places\S* has its channels"),
    "buffer": Case(
        one(mean=lambda w: nn.Buffer(torch.rand(w, 1, 1))), lambda m, x: m.head(m.act(x) * m.mean), r"Own: .*m\.mean"
    ),
    "tensor that is no buffer": Case(stored, by("scale"), r"scale: .*x \* self\.scale"),
    "functional convolution": Case(
        one(), lambda m, x: functional.conv2d(m.act(x), m.head.weight), r"head\.weight has its channels"
    ),
    "made by a functional convolution": Case(
        one(), lambda m, x: m.head(m.norm(functional.conv2d(x, m.conv.weight)).relu()), r"conv\.weight has its channels"
    ),
    "forward by hand": Case(one(), lambda m, x: m.head.forward(m.act(x)), r"head\.weight has its channels"),
    "standardised weights": Case(last(lambda w: Standardised(w, 4, 1)), head(torch.clone), "head: .* something else"),
    "weight_norm": Case(
        last(lambda w: nn.utils.parametrizations.weight_norm(nn.Conv2d(w, 4, 1))),
        head(torch.clone),
        r"head\.weight: computed from other tensors",
    ),
    "weight_norm of old": Case(
        last(lambda w: nn.utils.weight_norm(nn.Conv2d(w, 4, 1))), head(torch.clone), "Own: .* cannot be copied"
    ),
}
SHARED = {
    "residual": Case(
        one(other=lambda w: nn.Conv2d(3, w, 1)),
        lambda m, x: m.head(m.act(x) + m.other(x)),
        "its channels are those of conv and other together",
    ),
    "residual of one channel": Case(one(), lambda m, x: m.head(m.act(x) + x[:, :1]), "head: .*add"),
    "factor of one channel": Case(one(), lambda m, x: m.head(m.act(x) * x[:, :1])),
    "gate of places": Case(one(gate=lambda w: nn.Conv2d(w, 1, 1)), lambda m, x: m.head(m.act(x) * m.gate(m.act(x)))),
    "squeeze and excitation": Case(
        one(down=lambda w: nn.Conv2d(w, 2, 1), up=lambda w: nn.Conv2d(2, w, 1)),
        excited,
        "its channels are those of conv and up together",
    ),
    "efficient channel attention": Case(one(slide=lambda _: nn.Conv1d(1, 1, 3, padding=1)), efficient, "head: .*mul"),
    "around the norm": Case(one(), around, "head reads conv without it"),
    "output": Case(one(), lambda m, x: m.act(x), "its channels are the network's output"),
    "one of two outputs": Case(one(), with_features, "its channels are the network's output"),
    "two outputs": Case(one(), two_outputs),
    "no output": Case(one(), lambda m, x: "logits", "Own: gives no tensor"),
    "a selection": Case(
        last(conv(3, 4), some=lambda w: ChannelSelect(w, 3)), by("some"), "some selects among its channels"
    ),
    "the images": Case(
        one(lambda _: 3, norm=lambda _: nn.BatchNorm2d(3)),
        lambda m, x: m.head(m.norm(x)),
        "no layer makes its channels",
        (1,),
    ),
    "half of a layer's": Case(
        one(conv=lambda w: nn.Conv2d(3, 2 * w, 1)),
        lambda m, x: m.head(m.norm(m.conv(x).chunk(2, 1)[0])),
        "its 8 channels are not one by one the 16 of conv",
    ),
    "used twice": Case(inner("branch"), lambda m, x: m.head(m.branch(m.branch(x))), prunable=("branch.norm",)),
    "of two names": Case(
        inner("branch", "again"), lambda m, x: m.head(m.again(m.branch(x))), prunable=("branch.norm",)
    ),
    "read twice": Case(
        one(other=lambda w: nn.Conv2d(3, w, 1)), lambda m, x: m.head(m.act(x)) + m.head(m.other(x)), "head: "
    ),
    "tied weights": Case(
        tied, lambda m, x: m.head(m.act(x)) * m.other(m.act(x)), "head and other: they share a weight"
    ),
    "unused": Case(one(), lambda m, x: m.head(m.conv(x)), "no gradient of the network's output"),
    "others unused": Case(one(spare=lambda w: nn.Linear(3, 3)), head(torch.clone)),
}
FORWARDS = {
    "values decide": Case(
        one(), lambda m, x: chosen(m, m.act(x), m.act(x).mean() > 1), "Own: .*if which else.*by shapes"
    ),
    "values pick": Case(one(), lambda m, x: m.head(m.act(x)[x.mean((1, 2, 3)) > 0]), "Own: .*by shapes alone"),
    "values end a loop": Case(one(), settles, r"Own: .*while y\.norm\(\) > 1.*by shapes alone"),
    "the width decides": Case(
        one(), lambda m, x: chosen(m, m.act(x), m.act(x).shape[1] > 5), "head: .* something else"
    ),
    "the size decides": Case(one(), lambda m, x: chosen(m, m.act(x), x.shape[2] > 5)),
    "in place": Case(one(), changed_in_place),
    "dropout": Case(one(drop=lambda _: nn.Dropout2d()), by("drop")),
    "dropout that is always on": Case(one(), head(functional.dropout2d), "Own: .*each time"),
    "in float32": Case(one(), lambda m, x: m.head(m.act(x.float())), dtype=torch.float32),
    "detached": Case(one(), head(torch.Tensor.detach), "no gradient of the network's output"),
    "without gradients": Case(one(), torch.no_grad()(head(torch.clone)), "no gradient of the network's output"),
    "checkpointing": Case(one(), lambda m, x: m.head(checkpoint(m.act, x, use_reentrant=False))),
    "by keyword": Case(one(), lambda m, x: m.head(input=m.norm(input=m.conv(input=x)).relu())),
    "an error": Case(one(), lambda m, x: m.head(m.act(x), 3), r"head: fails at \S+:\d+ `.*` ?: .* but 3 were given$"),
    "another shape": Case(one(conv=lambda w: nn.Conv2d(1, w, 1)), head(torch.clone), "conv: .* to have 1 channels"),
    "not finite": Case(one(), lambda m, x: m.head(m.act(x)) / 0, "Own: what it makes of noise, masked, is not finite"),
    "divided by its places": Case(
        one(), head(lambda y: y / y.sum((2, 3), keepdim=True)), "Own: .* does it divide by 0"
    ),
}
CASES = MOVED | MIXED | SHIFTED | KINDS | SHARED | FORWARDS
