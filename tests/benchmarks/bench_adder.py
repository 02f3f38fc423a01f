"""The adder layer on a CPU: against torch.cdist and a matrix product, and a training step of ResNet-20.

Forward, the other sides get the windows as a matrix that is ready made, (positions, taps); ours takes the images. The
broadcast form of the training step is the one that builds |X - F| for all windows and filters, as the papers' released
code does; it takes fewer images a step, and time is counted for one image.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.adder_detection.adder import Adder2d, adder2d
from shared.baselines.resnet_cifar import CifarResNet, plain
from tests.benchmarks.runner import Contest, Side


@dataclass(frozen=True)
class Shape:
    """A layer and its input, as one meets them in the network `where` with so many images."""

    where: str
    images: int
    channels: int
    size: int
    filters: int
    kernel: int
    stride: int = 1

    def __str__(self) -> str:
        step = f" stride {self.stride}" if self.stride > 1 else ""
        return (
            f"{self.where}, batch {self.images}: {self.channels} channels, {self.size} x {self.size}, "
            f"{self.filters} filters {self.kernel} x {self.kernel}{step}"
        )


SHAPES = (
    Shape("ResNet-20, stage 1", 128, 16, 32, 16, 3),
    Shape("ResNet-20, stage 2", 128, 32, 16, 32, 3),
    Shape("ResNet-20, stage 3", 128, 64, 8, 64, 3),
    Shape("ResNet-50, stage 2", 16, 128, 28, 128, 3),
    Shape("ResNet-50, stage 2", 16, 512, 28, 128, 1),
    Shape("ResNet-50, stage 3", 16, 256, 14, 256, 3),
)


def contests(tiny: bool) -> list[Contest]:
    """Forward at six shapes, with the batches of training; a step of ResNet-20 with 128 images; all on two threads."""
    shapes = (Shape("a small layer", 2, 4, 8, 4, 3, stride=2),) if tiny else SHAPES
    turns, threads = (2, 1) if tiny else (15, 2)
    found = []
    for shape in shapes:
        ours = _adder(shape)
        found += [
            Contest(f"{shape}", {"adder": ours, "matrix product": _product(shape)}, turns, threads, goal=0.4),
            Contest(f"{shape}", {"adder": ours, "torch.cdist": _cdist(shape)}, turns, threads, goal=5),
        ]
    size, batch, few = (8, 2, 1) if tiny else (32, 128, 4)
    what, ours = f"training step of ResNet-20, {size} x {size}", _step(adder_resnet20(Adder2d), size, batch)
    convolution, broadcast = _step(CifarResNet(20), size, batch), _step(adder_resnet20(Broadcast), size, few)
    return [
        *found,
        Contest(what, {"adder": ours, "convolution": convolution}, turns, threads, goal=0.25),
        Contest(what, {"adder": ours, "broadcast": broadcast}, turns, threads, goal=40),
    ]


def adder_resnet20(layer: Callable[..., nn.Module]) -> nn.Module:
    """ResNet-20 with adder layers in its blocks."""

    def block(in_channels: int, out_channels: int, *, stride: int, act: type[nn.Module] | None) -> nn.Module:
        sequence = plain(in_channels, out_channels, stride=stride, act=act)
        assert isinstance(sequence, nn.Sequential)
        sequence[0] = layer(in_channels, out_channels, 3, stride, 1)
        return sequence

    return CifarResNet(20, block)


class Broadcast(Adder2d):
    """The same layer by windows and broadcasting."""

    def forward(self, x: Tensor) -> Tensor:
        """-sum |X - F|: (N, in, H, W) to (N, out, H', W')."""
        windows = functional.unfold(x, self.kernel_size, padding=self.padding, stride=self.stride)
        y = _Broadcast.apply(windows.transpose(0, 1).flatten(1), self.weight.flatten(1))
        size = (x.shape[2] + 2 * self.padding[0] - self.kernel_size[0]) // self.stride[0] + 1
        return y.unflatten(1, (len(x), size, -1)).transpose(0, 1)


class _Broadcast(torch.autograd.Function):
    """Windows (taps, positions) and filters (O, taps) to (O, positions)."""

    @staticmethod
    def forward(ctx: Any, windows: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(windows, filters)
        return -(windows - filters[:, :, None]).abs().sum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        windows, filters = ctx.saved_tensors
        gradient = gradients[0][:, None]
        differences = windows - filters[:, :, None]
        return -(differences.sign() * gradient).sum(0), (differences * gradient).sum(2)


def _adder(shape: Shape) -> Side:
    x, weight = torch.randn(shape.images, shape.channels, shape.size, shape.size), _filters(shape)
    return _timed(lambda: adder2d(x, weight, shape.stride, shape.kernel // 2), shape.images)


def _product(shape: Shape) -> Side:
    windows, filters = _windows(shape, shape.images), _filters(shape).flatten(1).t().contiguous()
    return _timed(lambda: windows @ filters, shape.images)


def _cdist(shape: Shape) -> Side:
    images = max(1, shape.images // 8)  # it is slow
    windows, filters = _windows(shape, images), _filters(shape).flatten(1)
    return _timed(lambda: torch.cdist(windows, filters, p=1), images)


def _filters(shape: Shape) -> Tensor:
    return torch.randn(shape.filters, shape.channels, shape.kernel, shape.kernel)


def _windows(shape: Shape, images: int) -> Tensor:
    x = torch.randn(images, shape.channels, shape.size, shape.size)
    windows = functional.unfold(x, shape.kernel, padding=shape.kernel // 2, stride=shape.stride)
    return windows.transpose(1, 2).flatten(0, 1).contiguous()


def _step(network: nn.Module, size: int, images: int) -> Side:
    x, targets = torch.randn(images, 3, size, size), torch.zeros(images, dtype=torch.long)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(network(x), targets).backward()
        optimiser.step()

    return _timed(step, images)


def _timed(work: Callable[[], Any], images: int) -> Side:
    def side() -> float:
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) / images

    return side
