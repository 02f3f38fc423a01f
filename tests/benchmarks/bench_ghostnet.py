"""GhostNet 1.0x in evaluation mode against timm's, with the same weights."""

from __future__ import annotations

import torch
from torch import nn

from papers.ghostnet import MODELS
from papers.ghostnet.upstream import rename
from shared.errors import UsageError
from shared.measure import latency
from tests.benchmarks.runner import FOLDER, Contest, Side, load_file


def contests(tiny: bool) -> list[Contest]:
    """One and eight images of 224 x 224, on one thread."""
    try:
        timm = load_file(FOLDER.parent / "timm_oracle.py").import_timm()
    except ModuleNotFoundError as error:
        raise UsageError("the benchmark `ghostnet` compares with timm; install it: make install") from error
    torch.manual_seed(0)
    ours, theirs = MODELS["ghostnet"](), timm.create_model("ghostnet_100")
    ours.load_state_dict(rename(theirs.state_dict()))
    size = 32 if tiny else 224
    return [
        Contest(
            f"{size} x {size}, batch {batch}",
            {"ours": _side(ours, size, batch), "timm": _side(theirs, size, batch)},
            turns=2 if tiny else 12,
            unit="ms",
            goal=1.0,
        )
        for batch in (1, 8)
    ]


def _side(network: nn.Module, size: int, batch: int) -> Side:
    repeats = 20 if batch == 1 else 5
    return lambda: latency(network, (3, size, size), batch=batch, warmup=1, repeats=repeats).median_ms / 1000 / batch
