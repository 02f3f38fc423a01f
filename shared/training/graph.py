"""A function of tensors as one CUDA graph: hundreds of kernels that are launched at once, and not by Python one by one.

A graph repeats what was done to tensors, at the places in memory where they were. So a function can be captured that
computes on the device alone, with tensors that keep their places, and always does the same.
"""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

REHEARSALS = 3  # as PyTorch's notes on CUDA graphs have it

Function = Callable[[], Tensor]


class Graphs(Protocol):
    """Something that records functions."""

    def rehearse(self, function: Function, *, last: bool) -> Tensor:
        """Call it as it will be recorded; the `last` time it is to do just what will be repeated."""

    def record(self, function: Function) -> Function:
        """A function that repeats it, and gives the very tensor that this one gave; an error where there can be none.

        What is recorded is not done.
        """


class CudaGraphs:
    """Records on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.fault = ""

    def rehearse(self, function: Function, *, last: bool) -> Tensor:
        """On the stream that will record; looks in the end for what a graph does not notice, or does not survive."""
        now = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            if not last:  # the first call of many a kernel waits
                result = function()
            else:
                before = _drawn_on_the_cpu()
                with _waits() as waits:
                    result = function()
                if waits:
                    self.fault = f"it waits for the GPU ({waits[0]})"
                elif _drawn_on_the_cpu() != before:
                    self.fault = "it draws random numbers on the CPU"
        now.wait_stream(self.stream)
        return result

    def record(self, function: Function) -> Function:
        """See `Graphs`; dropout and the like draw other numbers every time, those that they would draw without it."""
        if self.fault:
            raise RuntimeError(self.fault)
        generator = torch.cuda.default_generators[self.device.index or 0]
        state, graph = generator.get_state(), torch.cuda.CUDAGraph()
        try:
            # Other threads, which pin memory, may ask the driver for it meanwhile.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                result = function()
        except Exception:
            fresh = torch.Generator(self.device)  # the old one takes itself to be recorded for ever
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh.graphsafe_get_state())
            raise

        def repeat() -> Tensor:
            graph.replay()
            return result

        return repeat


class Captured:
    """A function of tensors that is called, then recorded, then repeated; every call has its effects just once.

    Its first REHEARSALS calls are calls like any other. Then `record` has to come, and what follows is repeated.

    Args:
        function: gives one tensor.
        graphs: records it.
    """

    def __init__(self, function: Callable[..., Tensor], graphs: Graphs) -> None:
        self._function = function
        self._graphs = graphs
        self._inputs: list[Tensor] = []
        self._rehearsed = 0
        self._repeat: Function | None = None

    @property
    def due(self) -> bool:
        """Whether `record` is to come now."""
        return self._rehearsed == REHEARSALS and self._repeat is None

    def fits(self, inputs: Sequence[Tensor]) -> bool:
        """Whether it can be called with them: they are as those of the first call were."""
        pairs = zip(self._inputs, inputs, strict=True) if self._inputs else ()
        return all(own.shape == other.shape and own.dtype == other.dtype for own, other in pairs)

    def record(self) -> None:
        """The error, whichever it is, says why it cannot be captured."""
        self._repeat = self._graphs.record(self._called)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """What the function gives of `inputs`, in a tensor that stays."""
        if not self._inputs:
            self._inputs = [one.clone() for one in inputs]
        else:
            for own, other in zip(self._inputs, inputs, strict=True):
                own.copy_(other)
        if self._repeat is not None:
            return self._repeat().clone()
        self._rehearsed += 1
        return self._graphs.rehearse(self._called, last=self._rehearsed == REHEARSALS)

    def _called(self) -> Tensor:
        return self._function(*self._inputs)


def first_cause(error: BaseException) -> str:
    """Where one error came of another, the first line of the first one."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition("\n")[0] or type(error).__name__


def _drawn_on_the_cpu() -> tuple[bytes, object]:
    """Another value once random numbers were drawn there."""
    return torch.get_rng_state().numpy().tobytes(), random.getstate()


@contextlib.contextmanager
def _waits() -> Iterator[list[str]]:
    """The places, "file:line", that make Python wait for the GPU."""
    places: list[str] = []
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(before)
    # What else was to be told was told in the step before.
    places += [f"{one.filename}:{one.lineno}" for one in told if "called a synchronizing CUDA" in str(one.message)]
