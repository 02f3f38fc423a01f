"""A repository of its own for each test: pinning writes below ROOT, and the real one is to stay as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from papers.ghostnet import MODELS
from shared import datasets
from shared import paper as papers
from shared.checkpoints import cite, history, pin, verify
from shared.files import ROOT, read_yaml, sha256_file, write_json
from shared.measure import count
from shared.training.plan import stated
from shared.training.protocol import load_protocol
from shared.weights import card
from shared.weights.load import noise
from shared.weights.storage import content_digest, load_weights, save_weights

REF = "ghostnet/ghost-tiny-3"
ARGS = {"width": 0.0625, "s": 2, "d": 3}
COMMIT = "a" * 40
RECIPE = {"epochs": 1, "batch_size": 8, "optimiser": {"name": "sgd", "lr": 0.1}}
PROTOCOL = {
    "what": "a test",
    "data": "mnist5k",
    "seed": 3,
    "repeats": 2,
    "arms": {"ghost": {"builder": "ghost_vgg16", "args": ARGS}, "tuned": {"of": "ghost"}},
    "recipe": RECIPE,
}
Change = Callable[..., None]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """papers/ghostnet with one protocol, `tiny`, which keeps the weights of seed 3 of `ghost`."""
    monkeypatch.setattr(card, "ROOT", tmp_path)
    monkeypatch.setattr(papers, "ROOT", tmp_path)
    for module in (pin, verify):
        monkeypatch.setattr(module, "commits", lambda: frozenset({COMMIT}))
    for module in (pin, cite):
        monkeypatch.setattr(module, "release_tag", lambda ref: None)
    history.commits.cache_clear()
    folder = tmp_path / "papers" / "ghostnet"
    folder.mkdir(parents=True)
    paper = read_yaml(ROOT / "papers/ghostnet/paper.yaml") | {"keep": ["ghost-tiny-3"]}
    (folder / "paper.yaml").write_text(yaml.safe_dump(paper))
    (folder / "params.yaml").write_text(yaml.safe_dump({"tiny": PROTOCOL}))
    return tmp_path


@pytest.fixture
def change(repository: Path) -> Change:
    """Changes a key of the protocol in params.yaml, given by its path."""

    def write(*keys: str, to: Any) -> None:
        path = repository / "papers/ghostnet/params.yaml"
        content = inner = read_yaml(path)
        for key in ("tiny", *keys[:-1]):
            inner = inner[key]
        inner[keys[-1]] = to
        path.write_text(yaml.safe_dump(content))

    return write


@pytest.fixture
def finished(repository: Path) -> Path:
    """The folder of a finished and evaluated run."""
    return make_run(repository)


def make_run(repository: Path, arm: str = "ghost", seed: int = 3, *, start: Path | None = None, weights: int = 0,
             protocol: str = "tiny", metrics: dict[str, float] | None = None, **changes: Any) -> Path:  # fmt: skip
    """What training and evaluating leave; `weights` seeds the initialisation, `start` is the run that it continues."""
    home = repository / "papers/ghostnet"
    folder = home / "runs" / protocol / arm / "seeds" / str(seed)
    torch.manual_seed(weights)
    save_weights(folder / "weights.safetensors", MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1).state_dict())
    plan = stated("ghostnet", protocol, load_protocol(home / "params.yaml", protocol), arm)
    begun = start and {"arm": start.parent.parent.name, "sha256": sha256_file(start / "weights.safetensors")}
    result = {
        "plan": plan | {"seed": seed, "start": begun, "reads": {}, "sources_digest": "1" * 64},
        "code": COMMIT,
        "environment": "b" * 64,
        "args": ARGS,
        "epochs": 1,
        "measured": {},
        "sha256": sha256_file(folder / "weights.safetensors"),
        "torch": "2.13.0",
        "device": "CPU",
        "seconds": 1.0,
        "curves": [{"epoch": 1.0, "test_top1": 10.0}],
    }
    write_json(folder / "run.json", result | changes)
    values = metrics or {"top1": 10.0, "top5": 50.0, "loss": 2.3}
    write_json(
        folder.parent.parent / "evaluated" / f"{folder.name}.json",
        {"sha256": result["sha256"], "code": COMMIT, "metrics": values},
    )
    return folder


DETECTOR = {"width": 0.5, "channels": 16, "convs": 1}


def keep_detector(repository: Path, network: torch.nn.Module | None = None) -> card.Card:
    """The kept weights of a made-up run of a detector; those of no network at all where none is given."""
    file = repository / "papers/ghostnet/checkpoints/retina-scenes-0.json"
    state, params, macs, logits = {"w": torch.zeros(1)}, 1, 1, [[0.0]]
    if network is not None:
        counted = count(network, (3, 64, 64))
        state, params, macs = network.state_dict(), counted.params, counted.macs
        with torch.inference_mode():
            logits = network.eval()(noise((3, 64, 64), 0)).tolist()
    save_weights(file.with_suffix(".safetensors"), state)
    kept = card.Card(
        paper="ghostnet", protocol="scenes", arm="retina", seed=0, model="retinanet", args=DETECTOR, classes=10,
        input=(3, 64, 64), data="digit_scenes", data_hash=datasets.spec("digit_scenes").fingerprint,
        metrics={"ap": 1.5, "ap50": 4.0}, sha256=sha256_file(file.with_suffix(".safetensors")), name=file.stem,
        params=params, macs=macs, licence="Apache-2.0", bytes=file.with_suffix(".safetensors").stat().st_size,
        digest=content_digest(state), golden=card.Golden(noise_seed=0, logits=logits), pinned="2026-11-28",
    )  # fmt: skip
    file.write_text(card.seal(kept))
    return kept


def network_of(run: Path) -> torch.nn.Module:
    """The network of a run that `make_run` made."""
    network = MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1)
    network.load_state_dict(load_weights(run / "weights.safetensors", None))
    return network.eval()
