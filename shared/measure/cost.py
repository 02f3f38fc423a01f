"""What a network costs on this machine: peak memory and latency."""

from __future__ import annotations

import itertools
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
    was_training = model.training
    model.eval()
    times = []
    with torch.inference_mode(), threads(thread_count):
        for number in range(warmup + repeats):
            started = time.perf_counter()
            model(images)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= warmup:
                times.append(1000 * (time.perf_counter() - started))
    model.train(was_training)
    low, median, high = statistics.quantiles(times, n=4)
    return Latency(round(median, 3), round(high - low, 3), repeats, thread_count, batch)


def peak_memory(model: nn.Module, shape: tuple[int, int, int], *, batch: int = 1, training: bool = False) -> int:
    """Bytes that are live at once, at most, during one pass over noise of `shape` (C, H, W), weights not included.

    With `training` the pass is a forward and a backward one, gradients included. CUDA devices are asked for their own
    peak; on a CPU the allocations that the profiler records are summed up.
    """
    device = next(model.parameters()).device
    images = torch.randn(batch, *shape, device=device)
    was_training = model.training
    model.train(training)

    def once() -> None:
        with torch.set_grad_enabled(training):
            out = model(images)
            if training:
                out.sum().backward()

    try:
        if device.type == "cuda":
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            once()
            return torch.cuda.max_memory_allocated(device) - before
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            once()
    finally:
        model.train(was_training)
        model.zero_grad(set_to_none=True)
    assert record.profiler is not None and record.profiler.kineto_results is not None
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes), default=0)
