"""The adder layer against torch.cdist and a matrix product, and a training step of ResNet-20; on a GPU too.

The other sides get the windows as a matrix that is ready made, (positions, taps), and their gradient is one for these;
ours takes the images. The broadcast form of the training step is the one that builds |X - F| for all windows and
filters, as the papers' released code does; on a CPU it takes fewer images a step, and time is counted for one image.
On a GPU layers are timed as CUDA graphs, and beside what its lanes could do at most: two additions a tap.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from papers.adder_detection import adder
from papers.adder_detection.adder import Adder2d, adder2d
from shared.baselines.resnet_cifar import CifarResNet, plain
from tests.benchmarks.cuda_graph import captured
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

    @property
    def taps(self) -> int:
        """Taps of one image."""
        outputs = (self.size + 2 * (self.kernel // 2) - self.kernel) // self.stride + 1
        return outputs**2 * self.filters * self.channels * self.kernel**2


SHAPES = (
    Shape("ResNet-20, stage 1", 128, 16, 32, 16, 3),
    Shape("ResNet-20, stage 2", 128, 32, 16, 32, 3),
    Shape("ResNet-20, stage 3", 128, 64, 8, 64, 3),
    Shape("ResNet-50, stage 2", 16, 128, 28, 128, 3),
    Shape("ResNet-50, stage 2", 16, 512, 28, 128, 1),
    Shape("ResNet-50, stage 3", 16, 256, 14, 256, 3),
)
ON_A_GPU = (*SHAPES[:3], *(replace(shape, images=64) for shape in SHAPES[3:]))
CALLS = 20  # in a turn on a GPU
LIMIT = "limit of two additions a tap (computed)"
GOALS = {
    "cpu": {"matrix product": 0.4, "torch.cdist": 5, "convolution": 0.25, "broadcast": 40},
    "cuda": {"torch.cdist": 10, LIMIT: 0.3, "convolution": 0.5, "broadcast": 25},
}


def contests(tiny: bool) -> list[Contest]:
    """Forward at six shapes, with the batches of training, and a step of ResNet-20 with 128 images, on two threads.

    On a GPU, where there is one, the gradient for the input as well, and the step as it is and as a CUDA graph.
    """
    devices = ["cuda"] * torch.cuda.is_available() + ["cpu"]
    return [contest for device in devices for contest in (*_layers(device, tiny), *_steps(device, tiny))]


def _layers(device: str, tiny: bool) -> Iterator[Contest]:
    shapes = (Shape("a small layer", 2, 4, 8, 4, 3, stride=2),) if tiny else SHAPES if device == "cpu" else ON_A_GPU
    for shape in shapes:
        works = {"": _forward(shape, device)}
        if tiny or device == "cuda":
            works[", gradient for the input"] = _gradient(shape, device)
        for what, sides in works.items():
            if device == "cuda" and not tiny:
                sides[LIMIT] = _limit(shape)
            goals = {name: goal for name, goal in GOALS[device].items() if name != LIMIT or shape.filters >= 64}
            yield from _contests(f"{shape}{what}", sides, goals, device, tiny)


def _steps(device: str, tiny: bool) -> Iterator[Contest]:
    size, batch = (8, 2) if tiny else (32, 128)
    few = 1 if tiny else batch if device == "cuda" else 4
    timers = {"": _queued, ", in a CUDA graph": _captured} if device == "cuda" else {"": _timed}
    for what, timed in timers.items():
        sides = {
            "adder": timed(_step(adder_resnet20(Adder2d), size, batch, device), batch),
            "convolution": timed(_step(CifarResNet(20), size, batch, device), batch),
            "broadcast": timed(_step(adder_resnet20(Broadcast), size, few, device), few),
        }
        yield from _contests(f"training step of ResNet-20, {size} x {size}{what}", sides, GOALS[device], device, tiny)


def _contests(what: str, sides: dict[str, Side], goals: dict[str, float], device: str, tiny: bool) -> Iterator[Contest]:
    """Our side, the first, against each of the others."""
    ours, *others = sides
    for other in others:
        yield Contest(
            what if device == "cpu" else f"{what}, on a GPU",
            {ours: sides[ours], other: sides[other]},
            turns=2 if tiny else 15,
            threads=1 if tiny or device == "cuda" else 2,
            goal=goals.get(other),
        )


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


def _forward(shape: Shape, device: str) -> dict[str, Side]:
    x, weight = _images(shape, device), _filters(shape, device)
    windows, filters = _windows(shape, x), weight.flatten(1)
    few = shape.images if device == "cuda" else max(1, shape.images // 8)  # it is slow
    some, across = windows[: len(windows) // shape.images * few], filters.t().contiguous()
    timed = _captured if device == "cuda" else _timed
    return {
        "adder": timed(lambda: adder2d(x, weight, shape.stride, shape.kernel // 2), shape.images),
        "matrix product": timed(lambda: windows @ across, shape.images),
        "torch.cdist": timed(lambda: torch.cdist(some, filters, p=1), few),
    }


def _gradient(shape: Shape, device: str) -> dict[str, Side]:
    x, weight = _images(shape, device), _filters(shape, device)
    windows, filters = _windows(shape, x), weight.flatten(1)
    how = ([shape.stride] * 2, [shape.kernel // 2] * 2, 1)
    gradient = torch.randn_like(adder2d(x, weight, shape.stride, shape.kernel // 2))
    by_position = gradient.flatten(2).transpose(1, 2).flatten(0, 1).contiguous()
    few = max(1, shape.images // 8)  # it holds a number for each tap
    positions = len(windows) // shape.images * few
    some, its_gradient = windows[:positions], by_position[:positions]
    distances = torch.cdist(some, filters, p=1)
    timed = _captured if device == "cuda" else _timed
    return {
        "adder": timed(lambda: adder._input_gradient(gradient, x, weight, *how, False), shape.images),
        "matrix product": timed(lambda: by_position @ filters, shape.images),
        "torch.cdist": timed(lambda: torch.ops.aten._cdist_backward(its_gradient, some, filters, 1.0, distances), few),
    }


def _limit(shape: Shape) -> Side:
    """What the GPU needs for two float32 additions a tap when nothing else keeps it, at its highest clock."""
    gpu = torch.cuda.get_device_properties()
    lanes = 64 if gpu.major == 7 or (gpu.major, gpu.minor) == (8, 0) else 128  # of a multiprocessor, for float32
    seconds = 2 * shape.taps / (gpu.multi_processor_count * lanes * gpu.clock_rate * 1000)
    return lambda: seconds


def _images(shape: Shape, device: str) -> Tensor:
    return torch.randn(shape.images, shape.channels, shape.size, shape.size, device=device)


def _filters(shape: Shape, device: str) -> Tensor:
    return torch.randn(shape.filters, shape.channels, shape.kernel, shape.kernel, device=device)


def _windows(shape: Shape, x: Tensor) -> Tensor:
    windows = functional.unfold(x, shape.kernel, padding=shape.kernel // 2, stride=shape.stride)
    return windows.transpose(1, 2).flatten(0, 1).contiguous()


def _step(network: nn.Module, size: int, images: int, device: str) -> Callable[[], None]:
    network.to(device)
    x = torch.randn(images, 3, size, size, device=device)
    targets = torch.zeros(images, dtype=torch.long, device=device)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimiser.zero_grad()
        functional.cross_entropy(network(x), targets).backward()
        optimiser.step()

    return step


def _timed(work: Callable[[], Any], images: int) -> Side:
    """Seconds for one image, on a CPU."""

    def side() -> float:
        started = time.perf_counter()
        work()
        return (time.perf_counter() - started) / images

    return side


def _queued(work: Callable[[], Any], images: int) -> Side:
    """The same on a GPU: several calls one after another, until the last is done."""

    def calls() -> None:
        for _ in range(CALLS):
            work()
        torch.cuda.synchronize()

    return _timed(calls, CALLS * images)


def _captured(work: Callable[[], Any], images: int) -> Side:
    """The same from a CUDA graph, so that no launch is waited for; it is captured in the turn that is not counted."""

    repeat = functools.cache(lambda: captured(work))
    return _queued(lambda: repeat()(), images)
