"""Networks from pinned weights, or from the run on this machine that made the very same ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared.builders import build
from shared.datasets import rng
from shared.errors import PapertrailError
from shared.files import sha256_file
from shared.weights.card import Card, Identity, folder, home
from shared.weights.records import identity, read_records
from shared.weights.storage import content_digest, fill, load_weights


def load_checkpoint(ref: str) -> tuple[nn.Module, Identity]:
    """The network of "<slug>/<name>" in evaluation mode, and its card, or its record where no weights are kept.

    Weights that are not kept are those of the run on this machine, whose hash must be the record's.

    Raises:
        UsageError: no such checkpoint or record.
        PapertrailError: the weights are damaged; or they are not kept, and no run here made them.
    """
    slug, _, name = ref.partition("/")
    known = identity(ref)
    weights = folder(slug) / f"{name}.safetensors"
    if not isinstance(known, Card):
        weights = _local(ref, known)
    state = load_weights(weights, known.sha256)
    if isinstance(known, Card) and content_digest(state) != known.digest:
        raise PapertrailError(f"{weights}: the tensors' digest differs from the card's; restore the pinned file")
    return rebuild(known, state, weights), known


def rebuild(known: Identity, state: dict[str, Tensor], source: Path) -> nn.Module:
    """The network with these weights, in evaluation mode; PapertrailError names a tensor that does not fit."""
    model = build(known.paper, known.model, dict(known.args), known.classes, known.input[0])
    fill(model, state, source)
    return model.eval()


def run_folder(slug: str, protocol: str, arm: str, seed: int, runs: Path | None = None) -> Path:
    """Where a run of this machine lies; `runs` is where the paper's runs are kept when that is another folder."""
    return (runs or home(slug) / "runs") / protocol / arm / "seeds" / str(seed)


def commands(plan: dict[str, Any], seed: int) -> str:
    """What makes the run of a record's plan, its ancestors first."""
    steps = [("train" if link["prune"] is None else "prune", link["arm"]) for link in plan["chain"]]
    return " && ".join(
        f"papertrail {verb} {plan['paper']} {plan['protocol']} {arm} --seed {seed}" for verb, arm in steps
    )


def noise(shape: tuple[int, int, int], seed: int, count: int = 4) -> Tensor:
    """Images (count, C, H, W) of white noise, mean 0 and deviation 1; the same with every version of PyTorch."""
    draws = rng.uniform(seed, 0, torch.arange(count), math.prod(shape))
    return ((draws * 2 - 1) * math.sqrt(3)).view(count, *shape)


def _local(ref: str, known: Identity) -> Path:
    weights = run_folder(known.paper, known.protocol, known.arm, known.seed) / "weights.safetensors"
    if weights.exists() and sha256_file(weights) == known.sha256:
        return weights
    records = read_records(known.paper, known.protocol)
    assert records is not None
    command = commands(records.arms[known.arm].plan, known.seed)
    found = f"{weights} has others" if weights.exists() else "there is no run here"
    raise PapertrailError(
        f"{ref}: its weights are not kept, and {found}; `{command}` makes them on the kind of processor of the record"
    )
