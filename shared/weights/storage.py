"""Weights as safetensors files: written whole, read only when their hash is right, never unpickled."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from shared.errors import PapertrailError
from shared.files import atomic_write
from shared.weights.packing import pack, unpack

# Bare pickles of protocols 2 to 5, and the archive that torch.save makes around one.
PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
MOST_NAMES = 3  # of tensors that a message names


def serialise(state: dict[str, Tensor]) -> bytes:
    """The bytes of a safetensors file; without metadata, since equal tensors are to give equal bytes.

    Tensors that are mostly zeros take the space of what is left of them (see `shared.weights.packing`); what several
    names share is stored under each.
    """
    apart = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    return save(pack(apart))


def save_weights(path: Path, state: dict[str, Tensor]) -> None:
    """Write a state dictionary in one step."""
    with atomic_write(path, "wb") as stream:
        stream.write(serialise(state))


def is_pickle(content: bytes) -> bool:
    """Whether a file's content, whatever the file is called, would have to be unpickled."""
    return content.startswith(PICKLE_STARTS)


def load_weights(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Read a state dictionary whose file has this hash; `None` is for files that nobody has pinned yet.

    Raises:
        PapertrailError: the file is missing, is a pickle, is not safetensors, or has another hash.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PapertrailError(
            f"{path}: cannot be read ({error.strerror}); `git checkout` or `dvc pull` brings pinned weights"
        ) from error
    if is_pickle(content):
        raise PapertrailError(
            f"{path}: this is a pickle, which can run code when it is read; convert it with `papertrail import`"
        )
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and found != sha256:
        raise PapertrailError(f"{path}: its SHA-256 is {found}, expected {sha256}; restore the file")
    try:
        return unpack(load(content))
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:  # a damaged header fails in many ways
        raise PapertrailError(f"{path}: not a safetensors file, or a damaged one ({error}); get it again") from error


def fill(model: nn.Module, state: dict[str, Tensor], source: Path) -> None:
    """Put a state dictionary into a network; PapertrailError names tensors that are missing, unknown or do not fit."""
    wanted = model.state_dict()
    faults = []
    if missing := [name for name in wanted if name not in state]:
        faults.append(f"it has no {_named(missing)}, which the network needs")
    if unknown := [name for name in state if name not in wanted]:
        faults.append(f"the network has no {_named(unknown)}")
    if other := [name for name in wanted if name in state and state[name].shape != wanted[name].shape]:
        found, expected = tuple(state[other[0]].shape), tuple(wanted[other[0]].shape)
        more = f" (and {len(other) - 1} more differ)" if len(other) > 1 else ""
        faults.append(f"`{other[0]}` has the shape {found}, the network's has {expected}{more}")
    if faults:
        raise PapertrailError(f"{source}: {'; '.join(faults)}")
    model.load_state_dict(state)


def _named(names: list[str]) -> str:
    """The first few, and how many more."""
    shown = ", ".join(f"`{name}`" for name in names[:MOST_NAMES])
    return f"tensor {shown}{f' and {len(names) - MOST_NAMES} more' if len(names) > MOST_NAMES else ''}"


def content_digest(state: dict[str, Tensor]) -> str:
    """SHA-256 over (name, dtype, shape, bytes) of every tensor in the order of names: what the weights are, however
    they are packed."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
