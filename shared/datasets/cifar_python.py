"""The batches of CIFAR's Python version, which are pickles: their opcodes are read, and nothing is executed.

Python 2 wrote them: a dictionary with a list of labels, a list of file names and one string with all pixels. Everything
that is needed stands in the arguments of a few opcodes; what a pickle could run is passed over.
"""

from __future__ import annotations

import pickletools
from pathlib import Path

import numpy as np

from shared.errors import DataError

LABELS = ("labels", "fine_labels")
KEYS = {*LABELS, "coarse_labels", "batch_label", "data", "filenames"}
PIXELS = 3 * 32 * 32


def read_batch(path: Path, remedy: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 3, 32, 32) and labels int64 (N,), the fine ones; DataError names the file and what it lacks."""
    key, labels, pixels = "", [], b""
    try:
        for opcode, argument, _ in pickletools.genops(path.read_bytes()):
            if opcode.name == "SHORT_BINSTRING" and argument in KEYS:
                key = str(argument)
            elif opcode.name == "BININT1" and key in LABELS:
                labels.append(argument)
            elif opcode.name == "BINSTRING" and key == "data":
                pixels = str(argument).encode("latin-1")
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: truncated or no batch of CIFAR's Python version ({error}); {remedy}") from error
    if not labels or len(pixels) != len(labels) * PIXELS:
        raise DataError(f"{path}: {len(labels)} labels, but {len(pixels)} bytes of pixels; {remedy}")
    return np.frombuffer(pixels, np.uint8).reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)
