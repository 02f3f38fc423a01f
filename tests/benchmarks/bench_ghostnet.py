"""GhostNet 1.0x in evaluation mode against timm's, the same layers with the same shapes."""

from __future__ import annotations

import torch
from torch import nn

from papers.ghostnet import MODELS
from shared.bench import FOLDER, Contest, Side, load_file
from shared.measure import latency


def contests(tiny: bool) -> list[Contest]:
    """One and eight images of 224 x 224, on one thread."""
    timm = load_file(FOLDER.parent / "timm_oracle.py").import_timm()
    torch.manual_seed(0)
    ours, theirs = MODELS["ghostnet"](), timm.create_model("ghostnet_100")
    size = 32 if tiny else 224
    return [
        Contest(
            f"{size} x {size}, batch {batch}",
            {"ours": _side(ours, size, batch), "timm": _side(theirs, size, batch)},
            turns=2 if tiny else 20,
            unit="ms",
            goal=1.0,
        )
        for batch in (1, 8)
    ]


def _side(network: nn.Module, size: int, batch: int) -> Side:
    repeats = 20 if batch == 1 else 5
    return lambda: latency(network, (3, size, size), batch=batch, warmup=1, repeats=repeats).median_ms / 1000 / batch
