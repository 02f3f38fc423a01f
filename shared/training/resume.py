"""resume.ckpt: what an interrupted run goes on from; written in one step, read without unpickling objects."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from shared.errors import PapertrailError
from shared.files import atomic_write

FILE = "resume.ckpt"


def keep(path: Path, state: dict[str, Any]) -> None:
    """Write what a run needs to go on: tensors, numbers and text, in lists and dictionaries."""
    with atomic_write(path, "wb") as stream:
        torch.save(state, stream)


def kept(path: Path) -> dict[str, Any]:
    """What `keep` wrote, on the CPU; PapertrailError when the file is damaged."""
    try:
        with zipfile.ZipFile(path) as file:  # PyTorch itself does not look at the check sums
            if damaged := file.testzip():
                raise zipfile.BadZipFile(f"{damaged} has another check sum")
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, zipfile.BadZipFile) as error:
        raise PapertrailError(f"{path}: damaged ({error}); delete it, and the run begins anew") from error
    return state
