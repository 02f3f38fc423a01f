"""Verifying what is pinned: kept weights by hash, counts, logits and metric; records by seal, plan and commit."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from shared import datasets
from shared.checkpoints.check import Check, Lacking, checked, require_data
from shared.checkpoints.history import commits
from shared.checkpoints.pin import versions
from shared.checkpoints.records import broken, unlike
from shared.errors import NotInstalled, PapertrailError
from shared.measure import count
from shared.paper import load_paper, papers
from shared.training.protocol import Protocol, load_protocols
from shared.training.tasks import task_of
from shared.weights.card import Card, find, home, pinned_names, read_card
from shared.weights.load import noise, rebuild
from shared.weights.records import Records, protocols_recorded, read_records
from shared.weights.storage import content_digest, load_weights

# Other kernels and memory layouts were seen to move logits by some 3e-6.
LOGIT_TOLERANCE = 1e-4
# Percentage points. A whole one would be a fault; a tenth is another machine's rounding, one image of a thousand.
MEASURED_TOLERANCE = 0.1


def verify(ref: str | None = None) -> Iterator[Check]:
    """Check "<slug>/<name>"; or of "<slug>", or of every paper, each kept checkpoint and each file of records.

    A failure that makes the remaining checks of a checkpoint meaningless is its last line. What needs data or a library
    that are not here is skipped.

    Raises:
        UsageError: there is no such paper or checkpoint.
    """
    if ref and "/" in ref:
        yield from _weights(ref)
        return
    for slug in [load_paper(ref).slug] if ref else papers():
        for name in pinned_names(slug):
            yield from _weights(name)
        for protocol in protocols_recorded(slug):
            yield from _records(slug, protocol)


def _weights(ref: str) -> Iterator[Check]:
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
        yield checked(ref, "record", lambda: _record(card))
        step = "load"
        model = rebuild(card, state, weights)
        yield Check(ref, step, "ok", f"`{card.model}` with {card.args}; nothing unpickled, every tensor fits")
    except NotInstalled as error:  # what follows needs the network too
        yield Check(ref, step, "skipped", str(error))
        return
    except PapertrailError as error:
        yield Check(ref, step, "failed", str(error))
        return
    yield checked(ref, "counts", lambda: _counts(card, model))
    yield checked(ref, "logits", lambda: _logits(card, model))
    yield checked(ref, "metric", lambda: _metric(card, model))


def _counts(card: Card, model: nn.Module) -> str:
    found = count(model, card.input)
    told = f"{found.params:,} parameters, {found.macs:,} MACs"
    if (found.params, found.macs) != (card.params, card.macs):
        raise PapertrailError(f"{told}; the card says {card.params:,} and {card.macs:,}")
    return told


def _logits(card: Card, model: nn.Module) -> str:
    golden = torch.tensor(card.golden.logits)
    with torch.inference_mode():
        found = model(noise(card.input, card.golden.noise_seed, len(golden)))
    if found.shape != golden.shape:
        raise PapertrailError(f"of shape {tuple(found.shape)}, the card's are {tuple(golden.shape)}")
    difference = float((found - golden).abs().max())
    told = f"largest difference {difference:.1e}, tolerance {LOGIT_TOLERANCE:.0e}"
    if not difference <= LOGIT_TOLERANCE:
        raise PapertrailError(told)
    return told


def _record(card: Card) -> str:
    """Whether the record of the run names these weights; those of a version that was superseded have none."""
    if card.name not in versions(card.paper, f"{card.arm}-{card.protocol}-{card.seed}")[-1:]:
        raise Lacking("superseded, or not under `keep:`; the record is of another version")
    records = read_records(card.paper, card.protocol)
    run = None if records is None or card.arm not in records.arms else records.arms[card.arm].seeds.get(str(card.seed))
    if run is None or run.sha256 != card.sha256:
        found = "there is none" if run is None else f"it names the weights {run.sha256}"
        raise PapertrailError(f"{card.protocol}/{card.arm}, seed {card.seed}: {found}")
    return f"of {card.protocol}/{card.arm}, seed {card.seed}, made at {run.code}"


def _metric(card: Card, model: nn.Module) -> str:
    protocol = load_protocols(home(card.paper) / "params.yaml").get(card.protocol)
    if protocol is None or card.arm not in protocol.arms:
        raise Lacking(f"params.yaml has no {card.protocol}/{card.arm} any more")
    if datasets.spec(card.data).fingerprint != card.data_hash:
        raise PapertrailError(f"`{card.data}` has another data hash than the card")
    require_data(card.data)
    found = task_of(protocol.recipe).measure(model, protocol.recipe_of(card.arm), card.data)
    both = {name: (value, card.metrics[name]) for name, value in found.items() if name in card.metrics}
    told = [f"{name} {ours:.2f} (card: {theirs:.2f})" for name, (ours, theirs) in both.items()]
    told += [f"{name} {value:.2f} (not on the card)" for name, value in found.items() if name not in both]
    detail = f"on {card.data}: {', '.join(told)}"
    if not both or any(abs(ours - theirs) > MEASURED_TOLERANCE + 1e-9 for ours, theirs in both.values()):
        raise PapertrailError(detail)
    return detail


def _records(slug: str, protocol: str) -> Iterator[Check]:
    ref = f"{slug}/records/{protocol}"
    try:
        records = read_records(slug, protocol)
        assert records is not None
    except PapertrailError as error:
        yield Check(ref, "seal", "failed", str(error))
        return
    runs = sum(len(record.seeds) for record in records.arms.values())
    yield Check(ref, "seal", "ok", f"{len(records.arms)} arms, {runs} runs, none of the bytes was changed")
    yield checked(ref, "plan", lambda: _plans(records))
    yield checked(ref, "commit", lambda: _commits(records))


def _plans(records: Records) -> str:
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
        raise PapertrailError(f"not what is stated and pinned now: {'; '.join(found)}")
    return "what params.yaml states, each chain from the weights that are pinned"


def _commits(records: Records) -> str:
    """Whether the commit of each run is in this history, or is said to be lost."""
    history = commits()
    if history is None:
        raise Lacking("no whole history here: `git fetch --unshallow`")
    runs = [(f"{arm} seed {seed}", run) for arm, record in records.arms.items() for seed, run in record.seeds.items()]
    wrong = [where for where, run in runs if run.lost == (run.code in history)]
    if wrong:
        raise PapertrailError(f"in this history or not, other than it says: {', '.join(wrong)}")
    lost = sum(run.lost for _, run in runs)
    return f"{len(runs) - lost} runs in this history, {lost} marked as lost"


def _fault(records: Records, protocol: Protocol, arm: str, seed: int) -> str | None:
    try:
        return broken(records, protocol, arm, seed)
    except PapertrailError as error:  # what it read is pinned no more
        return str(error)
