"""Verifying what is pinned: kept weights by hash, counts, logits and metric; records by seal and commit."""

from __future__ import annotations

import contextlib
import platform
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from shared import datasets
from shared.checkpoints.history import commits
from shared.checkpoints.pin import versions
from shared.checkpoints.records import RERUN_TOLERANCE, broken, unlike
from shared.checkpoints.rerun import again, recorded
from shared.errors import DataError, PapertrailError, UsageError
from shared.measure import count
from shared.paper import papers
from shared.training.protocol import Protocol, load_protocol, load_protocols
from shared.training.tasks import task_of
from shared.weights.card import Card, find, headline, home, pinned_names, read_card
from shared.weights.load import noise, rebuild
from shared.weights.records import Records, SeedRecord, protocols_recorded, read_records
from shared.weights.storage import content_digest, load_weights

# Other kernels and memory layouts were seen to move logits by some 3e-6.
LOGIT_TOLERANCE = 1e-4
# Percentage points. A whole one would be a fault; a tenth is another machine's rounding, one image of a thousand.
MEASURED_TOLERANCE = 0.1

Result = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """One line of the report; "skipped" says what is missing."""

    checkpoint: str
    check: str
    result: Result
    detail: str


def verify(ref: str | None = None, *, rerun: bool = False) -> Iterator[Check]:
    """Check "<slug>/<name>", or every kept checkpoint and every file of records, line by line.

    A failure that makes the remaining checks of a checkpoint meaningless is its last line. With `rerun` the run of a
    record, "SLUG/PROTOCOL/ARM/SEED" or a checkpoint's, is made again and compared instead.
    """
    if rerun:
        if ref is None:
            raise UsageError("--rerun makes one run again: give SLUG/PROTOCOL/ARM/SEED, or a checkpoint SLUG/NAME")
        yield _rerun(ref)
        return
    for name in [ref] if ref else pinned_names():
        yield from _verify(name)
    if ref is None:
        for slug in papers():
            for protocol in protocols_recorded(slug):
                yield from _records(slug, protocol)


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
    yield _record(card)
    yield _metric(card, model)


def _rerun(ref: str) -> Check:
    slug, name, arm, seed, arm_record = recorded(ref)
    record = arm_record.seeds[str(seed)]
    protocol = load_protocol(home(slug) / "params.yaml", name)
    where = f"{slug}/{name}/{arm}/{seed}"
    difference = unlike(arm_record.plan, slug, name, protocol, arm) if arm in protocol.arms else "no such arm"
    if difference is not None:
        return Check(where, "rerun", "failed", f"params.yaml states another plan now: {difference}")
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        found = again(slug, name, protocol, arm, seed, Path(folder))
    if found["sha256"] == record.sha256:
        return Check(where, "rerun", "ok", f"the same weights to the bit ({found['device']})")
    if _one_processor(found, record):
        kind = f"{record.device} and PyTorch {record.torch}"
        detail = f"other weights on the record's own kind of processor ({kind}): the code gives another run now"
        return Check(where, "rerun", "failed", detail)
    metric = headline(record.metrics)
    kinds = f"{found['device']}; the record's: {record.device}"
    other = f"other weights: another kind of processor ({kinds}), or other code"
    if metric not in found["metrics"]:
        return Check(where, "rerun", "failed", f"{other}; the evaluation gives no {metric} any more")
    ours, theirs = found["metrics"][metric], record.metrics[metric]
    close = abs(ours - theirs) <= RERUN_TOLERANCE
    detail = f"{other}; by metric: {metric} {ours:.2f}, the record says {theirs:.2f}"
    return Check(where, "rerun", "ok" if close else "failed", detail)


def _one_processor(found: dict[str, Any], record: SeedRecord) -> bool:
    """Whether both runs had one kind of processor, by its name, and one PyTorch: then they are equal to the bit.

    A GPU adds in another order each time ("threads" tells it from a processor), and an architecture is no name.
    """
    name = record.device.partition(",")[0]
    named = "threads" in record.device and name not in (platform.machine(), platform.processor())
    return named and (found["device"], found["torch"]) == (record.device, record.torch)


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


def _record(card: Card) -> Check:
    """Whether the record of the run names these weights; those of a version that was superseded have none."""
    if card.name not in versions(card.paper, f"{card.arm}-{card.protocol}-{card.seed}")[-1:]:
        return Check(
            card.ref, "record", "skipped", "superseded, or not under `keep:`; the record is of another version"
        )
    try:
        records = read_records(card.paper, card.protocol)
    except PapertrailError as error:
        return Check(card.ref, "record", "failed", str(error))
    run = None if records is None or card.arm not in records.arms else records.arms[card.arm].seeds.get(str(card.seed))
    if run is None or run.sha256 != card.sha256:
        found = "there is none" if run is None else f"it names the weights {run.sha256}"
        return Check(card.ref, "record", "failed", f"{card.protocol}/{card.arm}, seed {card.seed}: {found}")
    return Check(card.ref, "record", "ok", f"of {card.protocol}/{card.arm}, seed {card.seed}, made at {run.code}")


def _metric(card: Card, model: nn.Module) -> Check:
    protocols = load_protocols(home(card.paper) / "params.yaml")
    if card.protocol not in protocols or card.arm not in protocols[card.protocol].arms:
        return Check(card.ref, "metric", "skipped", f"params.yaml has no {card.protocol}/{card.arm} any more")
    protocol = protocols[card.protocol]
    if datasets.spec(card.data).fingerprint != card.data_hash:
        return Check(card.ref, "metric", "failed", f"`{card.data}` has another data hash than the card")
    try:
        missing = datasets.describe(card.data)["missing"]
        if missing:
            detail = f"data not here ({', '.join(missing)}): `papertrail data {card.data}`"
            return Check(card.ref, "metric", "skipped", detail)
        found = task_of(protocol.recipe).measure(model, protocol.recipe_of(card.arm), card.data)
    except DataError as error:
        return Check(card.ref, "metric", "failed", str(error))
    both = {name: (value, card.metrics[name]) for name, value in found.items() if name in card.metrics}
    close = bool(both) and all(abs(ours - theirs) <= MEASURED_TOLERANCE + 1e-9 for ours, theirs in both.values())
    told = [f"{name} {ours:.2f} (card: {theirs:.2f})" for name, (ours, theirs) in both.items()]
    told += [f"{name} {value:.2f} (not on the card)" for name, value in found.items() if name not in both]
    detail = f"on {card.data}: {', '.join(told)}"
    return Check(card.ref, "metric", "ok" if close else "failed", detail)


def _records(slug: str, protocol: str) -> Iterator[Check]:
    ref = f"{slug}/records/{protocol}"
    try:
        records = read_records(slug, protocol)
        assert records is not None
    except PapertrailError as error:
        yield Check(ref, "seal", "failed", str(error))
        return
    runs = [(arm, seed, run) for arm, record in records.arms.items() for seed, run in record.seeds.items()]
    yield Check(ref, "seal", "ok", f"{len(records.arms)} arms, {len(runs)} runs, none of the bytes was changed")
    yield _plans(ref, records)
    history = commits()
    if history is None:
        yield Check(ref, "commit", "skipped", "no whole history here: `git fetch --unshallow`")
        return
    wrong = [f"{arm} seed {seed}" for arm, seed, run in runs if run.lost == (run.code in history)]
    lost = sum(run.lost for _, _, run in runs)
    if wrong:
        yield Check(ref, "commit", "failed", f"in this history or not, other than it says: {', '.join(wrong)}")
    else:
        yield Check(ref, "commit", "ok", f"{len(runs) - lost} runs in this history, {lost} marked as lost")


def _plans(ref: str, records: Records) -> Check:
    """Records that params.yaml, or what they began with, has left behind are refused as evidence; they are to be made
    anew, or to go."""
    slug, name = records.paper, records.protocol
    protocol = load_protocols(home(slug) / "params.yaml").get(name)
    found = []
    for arm, record in records.arms.items():
        if protocol is None or arm not in protocol.arms:
            found.append(f"{arm} (no such arm there)")
        elif (difference := unlike(record.plan, slug, name, protocol, arm)) is not None:
            found.append(f"{arm} ({difference})")
        else:
            found += filter(None, (_fault(records, protocol, arm, int(seed)) for seed in record.seeds))
    if found:
        return Check(ref, "plan", "failed", f"not what is stated and pinned now: {'; '.join(found)}")
    return Check(ref, "plan", "ok", "what params.yaml states, each chain from the weights that are pinned")


def _fault(records: Records, protocol: Protocol, arm: str, seed: int) -> str | None:
    try:
        return broken(records, protocol, arm, seed)
    except PapertrailError as error:  # what it read is pinned no more
        return str(error)
