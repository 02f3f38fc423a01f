"""Work on a GPU as one CUDA graph, written as PyTorch's notes have it: the other side of what the core captures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

REHEARSALS = 3  # in which kernels are compiled or chosen, and momentum begins


def captured(work: Callable[[], Any]) -> Callable[[], None]:
    """What repeats the work on the same memory; its rehearsals have been done by then."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(REHEARSALS):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay
