"""What Triton's compiler makes of the adder layer's kernels for an H100, which need not be there.

Run in a process of its own, without TRITON_INTERPRET: `python -m tests.papers.adder_detection.machine_code` prints, for
each kernel and tile, how often each instruction stands in the machine code.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Iterator
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from papers.adder_detection import adder_gpu

POINTERS = ("x", "y", "filters", "gradient", "for_x")


def instructions(kernel: Any, sizes: dict[str, Any], positions: str) -> dict[str, int]:
    """The machine code's instructions by name, for NCHW and 3 x 3 filters in steps of one, with padding."""
    names = kernel.arg_names
    ones = {name: 1 for name in names if name.startswith(("step", "pad")) or name in ("x_column", "g_column")}
    types = {name: "*fp32" if name in POINTERS else "constexpr" if name in ones | sizes else "i32" for name in names}
    source = ASTSource(kernel, types | {"positions": positions}, ones | sizes)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    return collections.Counter(re.findall(r"^\S*\s+(?:@!?U?P\w+ )?([A-Z]\w+)", compiled.asm["sass"], re.MULTILINE))


def found() -> Iterator[dict[str, Any]]:
    """For each kernel and tile; the last one with numbers of 64 bits for the positions."""
    for tile in (*adder_gpu.TILES, adder_gpu.ALONE):
        positions = "i64" if tile == adder_gpu.ALONE else "i32"
        for kernel in (adder_gpu._forward, adder_gpu._input_gradient):
            sizes = dict(zip(kernel.arg_names[-len(tile) :], tile, strict=True))
            if kernel is adder_gpu._input_gradient:
                sizes["SLOPE"] = 1.0
            yield {"kernel": kernel.__name__, **tile._asdict(), **instructions(kernel, sizes, positions)}


if __name__ == "__main__":
    print(json.dumps(list(found())))
