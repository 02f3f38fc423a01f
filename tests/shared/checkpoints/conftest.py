"""A repository of its own for each test: pinning writes below ROOT, and the real one is to stay as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from papers.ghostnet import MODELS
from shared.datasets.augment import Augment
from shared.files import sha256_file, write_json
from shared.weights import card
from shared.weights.storage import save_weights

REF = "ghostnet/ghost-tiny-3"
ARGS = {"width": 0.0625, "s": 2, "d": 3}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(card, "ROOT", tmp_path)
    folder = tmp_path / "papers" / "ghostnet"
    folder.mkdir(parents=True)
    (folder / "dvc.yaml").write_text("# A comment that stays.\nstages: {}\n")
    return tmp_path


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    return make_run(tmp_path / "run")


def make_run(folder: Path, **changes: object) -> Path:
    torch.manual_seed(0)
    model = MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1)
    save_weights(folder / "weights.safetensors", model.state_dict())
    record = {
        "paper": "ghostnet",
        "protocol": "tiny",
        "arm": "ghost",
        "model": "ghost_vgg16",
        "args": ARGS,
        "classes": 10,
        "input": [1, 28, 28],
        "data": "mnist5k",
        "data_hash": "0" * 64,
        "seed": 3,
        "recipe": {"augment": Augment().model_dump(mode="json")},
        "trainer": {},
        "sources_digest": "1" * 64,
        "epochs": 1,
        "metrics": {"top1": 10.0, "top5": 50.0, "loss": 2.3},
        "sha256": sha256_file(folder / "weights.safetensors"),
        "code": "a" * 40,
        "environment": "b" * 64,
        "torch": "2.13.0",
        "device": "CPU",
        "seconds": 1.0,
        "curves": [{"epoch": 1, "test_top1": 10.0}],
    }
    write_json(folder / "run.json", record | changes)
    return folder
