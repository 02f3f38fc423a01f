"""Weights that others published, converted to safetensors under our names."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.builders import COLOUR_CHANNELS, build
from shared.code import code_of
from shared.errors import PapertrailError, UsageError
from shared.files import require_writable, sha256_file
from shared.weights.storage import fill, is_pickle, load_weights, save_weights

# A state dictionary in a training script's file, and what DataParallel and torch.compile put before each name.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")


def convert(slug: str, source: Path, model: str, args: dict[str, Any], classes: int, out: Path) -> dict[str, Any]:
    """Read published weights (a .pth, of which only tensors are read, or safetensors) and write them under our names.

    `rename(state)` in papers/<slug>/upstream.py maps the names. Every tensor has to find its place and to fit.

    Returns:
        What was written: file, tensors, parameters, and the hashes of it and of its source.

    Raises:
        UsageError: there is no such file, or `out` is no .safetensors that can be written, or is the source itself.
        PapertrailError: the file holds more than tensors, is damaged, or does not fit; nothing is written.
    """
    if not source.is_file():
        raise UsageError(f"{source}: no such file")
    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: the name is to end in .safetensors")
    if out.exists() and out.samefile(source):
        raise UsageError(f"--out {out}: this is the file that is read; give another name")
    require_writable(out)
    upstream = code_of(slug, "upstream")
    if upstream is None:
        raise UsageError(f"papers/{slug}: no upstream.py, which would say how published names map onto ours")
    digest, renamed = sha256_file(source), upstream.rename(_read(source))
    # No data set says here how many channels the images have, as it does for every other network that is built.
    given = dict(args)
    channels = given.pop("in_channels", COLOUR_CHANNELS)
    network = build(slug, model, given, classes, channels)
    fill(network, renamed, source)
    state = network.state_dict()
    save_weights(out, state)
    return {
        "out": str(out),
        "tensors": len(state),
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "sha256": sha256_file(out),
        "source_sha256": digest,
    }


def _read(source: Path) -> dict[str, Tensor]:
    """A dictionary of tensors, also one wrapped by a training script or by DataParallel; the content tells the form."""
    raw = source.read_bytes()
    if not is_pickle(raw):
        return load_weights(source, None)
    try:
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever it likes
        reason = str(error).strip().partition("\n")[0]
        raise PapertrailError(f"{source}: holds more than tensors, or is damaged ({reason}); not read") from error
    while isinstance(content, dict) and (inner := [key for key in WRAPPERS if isinstance(content.get(key), dict)]):
        content = content[inner[0]]
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise PapertrailError(f"{source}: no dictionary of tensors")
    return {PREFIXES.sub("", name): tensor for name, tensor in content.items()}
