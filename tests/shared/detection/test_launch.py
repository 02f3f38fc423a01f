"""Several processes for one run: they find each other, end together, and fail together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shared.detection.launch import processes
from shared.errors import PapertrailError

WORKER = """
import os, sys
import torch
from shared.detection.launch import processes

def work():
    rank = torch.tensor([float(torch.distributed.get_rank())])
    torch.distributed.all_reduce(rank)
    return float(rank)

if __name__ == "__main__":
    with processes(2, []):
        total = work()
    if os.environ["RANK"] == sys.argv[1]:
        raise SystemExit(3)
"""


TRAIN = """
import os, sys
from pathlib import Path
import torch
from shared.detection.boxes import DetectionSet
from shared.detection.fit import DetectionRun
from shared.training.protocol import Protocol

whole = DetectionSet.read
DetectionSet.read = lambda images, split: whole(images, split)[:8]
plan = Protocol.model_validate({
    "what": "a test", "data": "digit_scenes", "trainer": {"devices": 2},
    "arms": {"tiny": {"builder": "retinanet", "args": {"width": 0.5, "channels": 8, "convs": 1}}},
    "recipe": {"task": "detection", "epochs": 2, "batch_size": 4, "size": [64, 64],
               "optimiser": {"name": "sgd", "lr": 0.01, "momentum": 0.9}},
})
folder = Path(sys.argv[1])
outcome = DetectionRun("ghostnet", "test", plan, "tiny", 0).fit(folder)
parameters = dict(outcome.model.named_parameters())
torch.save({"parameters": parameters, "curves": outcome.curves}, folder / f"{os.environ['RANK']}.pt")
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "worker.py"
    file.write_text(WORKER)
    return str(file)


def test_the_others_join(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with processes(2, [script, "none"]):
        rank = torch.tensor([float(torch.distributed.get_rank())])
        torch.distributed.all_reduce(rank)
        assert float(rank) == 0 + 1
    assert not torch.distributed.is_initialized()


def test_a_process_that_fails_fails_the_run(script: str) -> None:
    with pytest.raises(PapertrailError, match="a process of this run failed"), processes(2, [script, "1"]):
        torch.distributed.all_reduce(torch.zeros(1))


def test_one_process_is_left_alone() -> None:
    with processes(1, ["no such file"]):
        assert not torch.distributed.is_initialized()


def test_too_few_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(PapertrailError, match=r"trainer\.devices: 8 GPUs are wanted, 1 are here"), processes(8, []):
        pass


@pytest.mark.slow
def test_two_processes_train_one_detector(tmp_path: Path) -> None:
    pytest.importorskip("mmcv.ops")
    shared = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29531", "WORLD_SIZE": "2"}
    ranks = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    started = [subprocess.Popen([sys.executable, "-c", TRAIN, str(tmp_path)], env=rank) for rank in ranks]
    assert [process.wait() for process in started] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in ("0", "1"))
    assert first["curves"] == second["curves"] and [row["step"] for row in first["curves"]] == [2, 4]
    for name, parameter in first["parameters"].items():
        assert torch.equal(parameter, second["parameters"][name]), name
