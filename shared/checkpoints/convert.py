"""Weights that others published, converted to safetensors under our names."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.builders import build
from shared.code import code_of
from shared.errors import PapertrailError, UsageError
from shared.files import sha256_file
from shared.weights.storage import fill, is_pickle, load_weights, save_weights


def convert(slug: str, source: Path, model: str, args: dict[str, Any], classes: int, out: Path) -> dict[str, Any]:
    """Read published weights (a .pth, of which only tensors are read, or safetensors) and write them under our names.

    `rename(state)` in papers/<slug>/upstream.py maps the names. Every tensor has to find its place and to fit.

    Returns:
        What was written: file, tensors, parameters, and the hashes of it and of its source.
    """
    upstream = code_of(slug, "upstream")
    if upstream is None:
        raise UsageError(f"papers/{slug}: no upstream.py, which would say how published names map onto ours")
    network = build(slug, model, args, classes)
    fill(network, upstream.rename(_read(source)), source)
    state = network.state_dict()
    save_weights(out, state)
    return {
        "out": str(out),
        "tensors": len(state),
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "sha256": sha256_file(out),
        "source_sha256": sha256_file(source),
    }


def _read(source: Path) -> dict[str, Tensor]:
    """A dictionary of tensors, also one wrapped by a training script or by DataParallel; the content tells the form."""
    if not source.is_file():
        raise UsageError(f"{source}: no such file")
    raw = source.read_bytes()
    if not is_pickle(raw):
        return load_weights(source, None)
    try:
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise PapertrailError(f"{source}: holds more than tensors, or is damaged ({reason}); not read") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise PapertrailError(f"{source}: no dictionary of tensors")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}
