"""Pinning: a run's weights become a checkpoint that never changes again."""

from __future__ import annotations

import datetime
import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML, YAMLError

from shared.builders import build
from shared.errors import PapertrailError, UsageError
from shared.files import atomic_write, read_json, sha256_file
from shared.measure import count
from shared.schema import validated
from shared.weights.card import LICENCE, Card, Golden, Record, cards, folder, headline, seal
from shared.weights.load import noise
from shared.weights.storage import content_digest, fill, load_weights, serialise

NOISE_SEED = 0
LARGEST_IN_GIT = 5 * 1024 * 1024


def pin(run: Path, name: str | None = None, supersedes: str | None = None) -> Card:
    """Promote the run in a folder to a checkpoint named "<arm>-<protocol>-<seed>", or `name`.

    Raises:
        UsageError: the folder holds no finished run; the name is taken (a checkpoint is never overwritten); or this
            arm and seed are pinned already and `supersedes` does not name that checkpoint.
        PapertrailError: the run was made from sources that no commit holds, its weights are damaged, or the folder
            cannot be written; nothing is left behind.
    """
    record_file = run / "run.json"
    if not record_file.exists():
        raise UsageError(f"{run}: no finished run (run.json) here; a run's folder is papers/<slug>/runs/.../seeds/<N>")
    record = validated(Record, read_json(record_file), str(record_file))
    name = name or f"{record.arm}-{record.protocol}-{record.seed}"
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise UsageError(f"`{name}` is no checkpoint name: small letters, digits and single hyphens")
    if not re.fullmatch(r"[0-9a-f]{40}", record.code):
        raise PapertrailError(
            f"{record_file}: made from sources that no commit holds (code: {record.code}); commit them and run again"
        )
    target = folder(record.paper) / f"{name}.json"
    _may_pin(target, record, supersedes)
    state = load_weights(run / "weights.safetensors", record.sha256)
    content = serialise(state)
    model = build(record.paper, record.model, dict(record.args), record.classes, record.input[0])
    fill(model, state, run / "weights.safetensors")
    counted = count(model, record.input)
    with torch.inference_mode():
        logits = model.eval()(noise(record.input, NOISE_SEED)).tolist()
    pinned: dict[str, Any] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "name": name,
        "params": counted.params,
        "macs": counted.macs,
        "licence": LICENCE,
        "bytes": len(content),
        "digest": content_digest(state),
        "golden": Golden(noise_seed=NOISE_SEED, logits=logits),
        "tag": f"papers/{record.paper}={name}@v1.0.0",
        "pinned": datetime.date.today().isoformat(),
        "supersedes": supersedes,
    }
    card = validated(Card, record.model_dump() | pinned, str(record_file))
    _write(card, content, target)
    return card


def advice(card: Card) -> list[str]:
    """What is left to do after pinning, as commands; weights above 5 MB go behind the DVC remote."""
    weights = f"papers/{card.paper}/checkpoints/{card.name}.safetensors"
    if card.bytes > LARGEST_IN_GIT:
        keep = [f"dvc add {weights}  # {card.bytes / 1e6:.1f} MB: too large for git", f"dvc push {weights}.dvc"]
        weights = f"{weights}.dvc papers/{card.paper}/checkpoints/.gitignore"
    else:
        keep = []
    return [
        *keep,
        f"git add {weights} papers/{card.paper}/checkpoints/{card.name}.json papers/{card.paper}/dvc.yaml",
        f"git commit -m 'Pin {card.ref}'",
        f"git tag '{card.tag}'",
    ]


def _may_pin(target: Path, record: Record, supersedes: str | None) -> None:
    if target.exists():
        raise UsageError(f"{target}: pinned already, and never overwritten; give another name, and --supersedes")
    weights = target.with_suffix(".safetensors")
    if weights.exists() and sha256_file(weights) != record.sha256:  # equal ones are what a killed `pin` left
        raise UsageError(f"{weights}: these weights have lost their card; restore it, or give another name")
    pinned = cards(record.paper)
    replaced = {card.supersedes for card in pinned}
    now = [
        card.name
        for card in pinned
        if (card.protocol, card.arm, card.seed) == (record.protocol, record.arm, record.seed)
        and card.name not in replaced
    ]
    trial = f"seed {record.seed} of {record.protocol}/{record.arm}"
    if now and supersedes not in now:
        raise UsageError(f"{trial} is pinned as `{now[0]}`; to replace it, add --supersedes {now[0]}")
    if supersedes and not now:
        raise UsageError(f"--supersedes {supersedes}: {trial} is not pinned under that name; leave it out")


def _write(card: Card, weights: bytes, target: Path) -> None:
    """All three files or none: each has its whole content before the first takes its name, the card last."""
    pipeline = target.parent.parent / "dvc.yaml"
    with (
        atomic_write(target) as card_stream,
        atomic_write(pipeline) as pipeline_stream,
        atomic_write(target.with_suffix(".safetensors"), "wb") as weights_stream,
    ):
        card_stream.write(seal(card))
        weights_stream.write(weights)
        _declare(card, pipeline, pipeline_stream)
        for stream in (card_stream, pipeline_stream, weights_stream):
            stream.flush()


def _declare(card: Card, pipeline: Path, stream: Any) -> None:
    """Write the pipeline with the weights named under `artifacts:`, where `dvc artifacts get` finds them."""
    yaml = YAML()
    yaml.width = 120
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    try:
        content = (yaml.load(pipeline.read_text(encoding="utf-8")) if pipeline.exists() else None) or {}
    except YAMLError as error:
        raise PapertrailError(f"{pipeline}: not valid YAML ({' '.join(str(error).split())})") from error
    content.setdefault("artifacts", {})[card.name] = {
        "path": f"checkpoints/{card.name}.safetensors",
        "type": "model",
        "desc": f"{card.model}, protocol {card.protocol}, seed {card.seed}: {headline(card.metrics)} on {card.data}",
    }
    yaml.dump(content, stream)
