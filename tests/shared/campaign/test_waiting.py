"""What claims wait for: not what is pinned, nor what the folder of the campaign has."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import datasets
from shared.campaign import waiting
from shared.campaign.waiting import LeftOut, Waiting, look
from shared.checkpoints.pin import pin
from shared.files import read_yaml
from tests.shared.checkpoints import conftest as pinning

repository = pinning.repository  # a fixture
JOBS = [("ghost", 3), ("tuned", 3), ("ghost", 4), ("tuned", 4)]


def ordering(identity: str, protocol: str, better: str = "tuned") -> dict[str, Any]:
    compared = {"better": better, "than": "ghost", "floor": {"top1": 20}, "criterion": "It is better."}
    return {"id": identity, "row": identity, "says": "better", "protocols": [protocol], **compared}


@pytest.fixture
def out(repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of a campaign, beside a paper with protocols of every kind."""
    monkeypatch.setattr(waiting, "ROOT", repository)
    home = repository / "papers/ghostnet"
    tiny = read_yaml(home / "params.yaml")["tiny"]
    others = {
        "gpu": tiny,
        "cifar": tiny | {"data": "cifar10"},
        "paper": tiny | {"trainer": {"devices": 8, "strategy": "ddp"}},
        "paper-half": tiny | {"trainer": {"accelerator": "gpu", "precision": "16-mixed"}},
    }
    (home / "params.yaml").write_text(yaml.safe_dump({"tiny": tiny, **others}))
    row = {"row": "Ghost", "arm": "gpu/ghost", "tolerance": 0.5, "says": {"top1": "93.7", "error": "6.3"}}
    orderings = [ordering("order", name) for name in ("tiny", *others)]
    claims = [{"exhibit": "Table 5", "confidence": "read", "rows": [row], "orderings": orderings}]
    (home / "claims.yaml").write_text(yaml.safe_dump(claims))
    describe = datasets.describe
    monkeypatch.setattr(
        datasets, "describe", lambda name: {"missing": ["train.png"]} if name == "cifar10" else describe(name)
    )
    monkeypatch.setattr(waiting.torch.cuda, "is_available", lambda: False)
    return tmp_path / "campaign"


def found(out: Path) -> tuple[dict[str, list[tuple[str, int]]], dict[str, str]]:
    every = list(look("ghostnet", out))
    claims = {one.claim: [(job.arm, job.seed) for job in one.missing] for one in every if isinstance(one, Waiting)}
    return claims, {one.protocol: one.reason for one in every if isinstance(one, LeftOut)}


def test_of_large_protocols_that_this_machine_can_run_every_seed_is_missing_at_first(out: Path) -> None:
    claims, left_out = found(out)
    own = [("ghost", 3), ("ghost", 4)]
    assert claims == {"t5.ghost.top1": own, "t5.ghost.error": own, "order.gpu": JOBS}
    assert left_out == {
        "cifar": "cifar10 is not here: train.png",
        "paper": "one run takes 8 GPUs",
        "paper-half": "it needs a GPU, and none is here",
    }


def test_what_is_finished_and_evaluated_in_the_folder_is_not_missing(
    repository: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pinning.make_run(repository)
    folder = out / "papers/ghostnet/runs/gpu/ghost"
    shutil.copytree(run.parent.parent, folder)
    assert found(out)[0]["order.gpu"] == JOBS, "it is of another plan"
    monkeypatch.setattr(waiting, "is_finished", lambda run, folder: True)
    assert found(out)[0]["order.gpu"] == JOBS[1:]
    (folder / "evaluated/3.json").unlink()
    assert found(out)[0]["order.gpu"] == JOBS


def test_what_is_pinned_is_neither_missing_nor_told_unless_another_run_goes_on_from_it(
    repository: Path, out: Path
) -> None:
    for seed in (3, 4):
        pinned = pinning.make_run(repository, seed=seed, protocol="gpu")
    pin([pinned.parent.parent])
    claims, _ = found(out)
    assert claims == {"order.gpu": JOBS}, "tuned needs the weights of ghost, which are not kept"


def test_a_paper_that_cannot_be_read_is_left_out(out: Path, repository: Path) -> None:
    (repository / "papers/ghostnet/claims.yaml").write_text("- exhibit: Table 5\n  rwos: []\n")
    (left,) = look("ghostnet", out)
    assert isinstance(left, LeftOut) and "rwos: unknown key" in left.reason
