"""What a network costs on this machine: peak memory and latency."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from shared.errors import UsageError


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one batch: median and interquartile range over `repeats`, with `threads` threads."""

    median_ms: float
    spread_ms: float
    repeats: int
    threads: int
    batch: int


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def borrowed(model: nn.Module, *, training: bool) -> Iterator[None]:
    """The model in one mode and without gradients; modes, buffers and gradients are as before after the block."""
    modes = [(layer, layer.training) for layer in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if training else []
    model.train(training)
    model.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


@contextmanager
def silent() -> Iterator[None]:
    """Nothing reaches the error stream inside the block: PyTorch's profiler writes two lines there for each use."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        before = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)


def latency(
    model: nn.Module,
    shape: tuple[int, int, int],
    *,
    batch: int = 1,
    thread_count: int = 1,
    warmup: int = 5,
    repeats: int = 30,
) -> Latency:
    """Time forward passes in evaluation mode on noise of `shape` (C, H, W), on the device that holds the model."""
    if repeats < 4:
        raise UsageError(f"latency needs at least 4 repeats for its quartiles, not {repeats}")
    device = next(model.parameters()).device
    images = torch.randn(batch, *shape, device=device)
    times = []
    with borrowed(model, training=False), torch.inference_mode(), threads(thread_count):
        for number in range(warmup + repeats):
            started = time.perf_counter()
            model(images)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= warmup:
                times.append(1000 * (time.perf_counter() - started))
    low, median, high = statistics.quantiles(times, n=4)
    return Latency(round(median, 3), round(high - low, 3), repeats, thread_count, batch)


def peak_memory(model: nn.Module, shape: tuple[int, int, int], *, batch: int = 1, training: bool = False) -> int:
    """Bytes that are live at once, at most, during one pass over noise of `shape` (C, H, W), weights not included.

    With `training` the pass is a forward and a backward one, gradients included. CUDA devices are asked for their own
    peak; on a CPU the allocations that the profiler records are summed up.
    """
    device = next(model.parameters()).device
    images = torch.randn(batch, *shape, device=device)

    def once() -> None:
        with torch.set_grad_enabled(training):
            out = model(images)
            if training:
                out.sum().backward()

    with borrowed(model, training=training):
        if device.type == "cuda":
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            once()
            return torch.cuda.max_memory_allocated(device) - before
        with silent(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            once()
    assert record.profiler is not None and record.profiler.kineto_results is not None
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes), default=0)
