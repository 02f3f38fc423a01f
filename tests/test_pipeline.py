"""The main job from end to end, in a copy of the repository, with the embedded protocol cut short."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.files import ROOT

ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@example.org",
    "DVC_NO_ANALYTICS": "1",
}  # fmt: skip
DATA_STAGE = "data/mnist5k/dvc.yaml:data"


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["dvc", *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, in a repository of their own."""
    folder = tmp_path_factory.mktemp("copy")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = folder / "papers/ghostnet/params.yaml"
    text, cut = re.subn(r"epochs: 4\n", "epochs: 1\n", params.read_text(), count=1)
    text, fewer = re.subn(r"repeats: 3\n", "repeats: 2\n", text, count=1)
    assert cut == fewer == 1
    params.write_text(text)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "copy"]):
        subprocess.run(["git", *command], cwd=folder, env=ENVIRONMENT, check=True)
    return folder


def test_two_at_once_one_waits_or_refuses_and_neither_corrupts(copy: Path) -> None:
    command = ["dvc", "repro", "--force", DATA_STAGE]
    both = [
        subprocess.Popen(
            command, cwd=copy, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes, outputs
    for code, output in zip(codes, outputs, strict=True):
        assert code == 0 or "lock" in output.lower(), output
    assert json.loads((copy / "data/mnist5k/verified.json").read_text())["counts"] == {"train": 4000, "test": 1000}
    assert dvc(copy, "repro", DATA_STAGE).returncode == 0


def test_the_main_job_ends_with_verdicts_and_a_second_one_does_nothing(copy: Path) -> None:
    first = dvc(copy, "repro", "papers/ghostnet")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "notebooks/ghostnet.ipynb" in first.stdout and "claims:" in first.stdout
    assert "train-small" not in first.stdout, "what needs other data is not part of the main job"
    metrics = json.loads((copy / "papers/ghostnet/runs/mini/vgg16/metrics.json").read_text())
    assert set(metrics["top1"]["seeds"]) == {"0", "1"}
    verdicts = json.loads((copy / "papers/ghostnet/verdicts.json").read_text())
    mini = [entry for entry in verdicts if entry["protocol"] == "mini"]
    assert mini and all(entry["verdict"] in ("supported", "contradicted", "inconclusive") for entry in mini)

    second = dvc(copy, "repro", "papers/ghostnet")
    assert "Running stage" not in second.stdout and second.returncode == 0
    shown = dvc(copy, "metrics", "show", "--json")
    assert "papers/ghostnet/runs/mini/vgg16/metrics.json" in shown.stdout
    plots = dvc(copy, "plots", "show", "--json", "papers/ghostnet/runs/mini/vgg16/curves.csv")
    assert plots.returncode == 0 and "test_top1" in plots.stdout

    (copy / "shared/bench.py").write_text("# A comment in the core that no stage imports.\n")
    third = dvc(copy, "repro", "papers/ghostnet")
    assert "Running stage" not in third.stdout
