"""Verifying a checkpoint: hashes, safe load, counts, golden logits, and its metric where the data are at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from shared import datasets
from shared.checkpoints.evaluate import accuracy
from shared.datasets.augment import Augment
from shared.detection.sets import SETS, any_spec
from shared.errors import DataError, PapertrailError
from shared.measure import count
from shared.training.recipe import DetectionRecipe
from shared.weights.card import Card, find, headline, headline_metric, pinned_names, read_card
from shared.weights.load import noise, rebuild
from shared.weights.storage import content_digest, load_weights

# Other kernels and memory layouts were seen to move logits by some 3e-6.
LOGIT_TOLERANCE = 1e-4
# Percentage points. A whole one would be a fault; a tenth is another machine's rounding, one image of a thousand.
METRIC_TOLERANCE = 0.1

Result = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One line of the report; "skipped" says what is missing."""

    checkpoint: str
    check: str
    result: Result
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def verify(ref: str | None = None) -> Iterator[Check]:
    """Check "<slug>/<name>", or every checkpoint of every paper, line by line.

    A failure that makes the remaining checks of a checkpoint meaningless is its last line.
    """
    for name in [ref] if ref else pinned_names():
        yield from _verify(name)


def _verify(ref: str) -> Iterator[Check]:
    path = find(ref)
    weights = path.with_suffix(".safetensors")
    step = "card"
    try:
        card = read_card(path)
        yield Check(ref, step, "ok", "complete, and none of its bytes was changed")
        step = "hash"
        state = load_weights(weights, card.sha256)
        yield Check(ref, step, "ok", f"SHA-256 {card.sha256}")
        step = "digest"
        if content_digest(state) != card.digest:
            raise PapertrailError(f"{weights}: the tensors are not those of the card; restore the pinned file")
        yield Check(ref, step, "ok", f"{len(state)} tensors, {card.digest}")
        step = "load"
        model = rebuild(card, state, weights)
        yield Check(ref, step, "ok", f"`{card.model}` with {card.args}; nothing unpickled, every tensor fits")
    except PapertrailError as error:
        yield Check(ref, step, "failed", str(error))
        return
    yield _counts(card, model)
    yield _logits(card, model)
    yield _metric(card, model)


def _counts(card: Card, model: nn.Module) -> Check:
    found = count(model, card.input)
    if (found.params, found.macs) == (card.params, card.macs):
        return Check(card.ref, "counts", "ok", f"{found.params:,} parameters, {found.macs:,} MACs")
    says = f"the card says {card.params:,} and {card.macs:,}"
    return Check(card.ref, "counts", "failed", f"{found.params:,} parameters, {found.macs:,} MACs; {says}")


def _logits(card: Card, model: nn.Module) -> Check:
    golden = torch.tensor(card.golden.logits)
    with torch.inference_mode():
        found = model(noise(card.input, card.golden.noise_seed, len(golden)))
    if found.shape != golden.shape:
        detail = f"of shape {tuple(found.shape)}, the card's are {tuple(golden.shape)}"
        return Check(card.ref, "logits", "failed", detail)
    difference = float((found - golden).abs().max())
    result: Result = "ok" if difference <= LOGIT_TOLERANCE else "failed"
    return Check(card.ref, "logits", result, f"largest difference {difference:.1e}, tolerance {LOGIT_TOLERANCE:.0e}")


def _metric(card: Card, model: nn.Module) -> Check:
    boxes = card.data in SETS
    try:
        if any_spec(card.data).fingerprint != card.data_hash:
            return Check(card.ref, "metric", "failed", f"`{card.data}` has another data hash than the card")
        about = SETS[card.data].describe() if boxes else datasets.describe(card.data)
        if about["missing"]:
            missing = ", ".join(about["missing"])
            return Check(card.ref, "metric", "skipped", f"data not here ({missing}): `papertrail data {card.data}`")
        found = _detected(card, model) if boxes else _classified(card, model)
    except DataError as error:
        return Check(card.ref, "metric", "failed", str(error))
    name = headline_metric(card.metrics)
    close = abs(found[name] - card.metrics[name]) <= METRIC_TOLERANCE + 1e-9
    detail = f"{headline(found)} on {card.data}, the card says {headline(card.metrics)}"
    return Check(card.ref, "metric", "ok" if close else "failed", detail)


def _classified(card: Card, model: nn.Module) -> dict[str, float]:
    return {"top1": accuracy(model, card.data, Augment.model_validate(card.recipe["augment"]))}


def _detected(card: Card, model: nn.Module) -> dict[str, float]:
    from shared.detection.fit import measure  # late: most checkpoints need no MMDetection

    return measure(model, DetectionRecipe.model_validate(card.recipe), card.data)
