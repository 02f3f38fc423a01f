"""A paper from `papertrail new` to its verdicts, in a copy of the repository: one arm, one epoch of digits."""

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
PAPERTRAIL = [sys.executable, "-c", "from shared.cli import main; main()"]
DATA_STAGE = "data/mnist5k/dvc.yaml:data"
SLUG = "tiny"
PAPER = f"papers/{SLUG}"
# What a reader's machine may change; prose and verdicts are not among it.
ALLOWED = re.compile(
    rf"{PAPER}/(runs/mini/.*|dvc\.lock)|notebooks/tiny\.ipynb|dvc\.lock|data/mnist5k/(dvc\.lock|verified\.json)"
)


def run(folder: Path, *command: str) -> str:
    """What a command that ended well printed."""
    ended = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT | {"PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=900
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "copy")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files as they are now, in a repository of their own, and a new paper, filled in.

    The other papers stay out: DVC reads the stages of all that there are, whatever it is asked.
    """
    folder = tmp_path_factory.mktemp("copy")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).exists() and not re.match(r"papers/\w+/", name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    run(folder, "git", "init", "--quiet")
    run(folder, *PAPERTRAIL, "sync")
    run(folder, *PAPERTRAIL, "new", SLUG)
    for path in (folder / PAPER).glob("*.*"):
        path.write_text(re.sub(r"<<[^<>]+>>", "filled in", path.read_text()))
    params = folder / PAPER / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 4\n", "epochs: 1\n"))
    assert run(folder, *PAPERTRAIL, "sync") == "every dvc.yaml is up to date\n", "`new` has written the stages"
    commit(folder)
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
    run(copy, "dvc", "repro", DATA_STAGE)


def test_the_main_job_ends_with_verdicts_and_runs_again_what_changed_and_no_more(copy: Path) -> None:
    first = run(copy, "dvc", "repro", PAPER)
    assert [stage for stage in re.findall(r"Running stage '(.*?)'", first) if "data/" not in stage] == [
        f"{PAPER}/dvc.yaml:train-mini@baseline", f"{PAPER}/dvc.yaml:evaluate-mini@baseline",
        f"{PAPER}/dvc.yaml:notebook", PAPER,
    ]  # fmt: skip
    metrics = json.loads((copy / PAPER / "runs/mini/baseline/metrics.json").read_text())
    assert metrics.keys() == {"top1"} and 10 < metrics["top1"]["mean"] <= 100
    (verdict,) = json.loads((copy / PAPER / "verdicts.json").read_text())
    assert (verdict["id"], verdict["verdict"]) == ("t1.baseline.params", "exact")
    shown = run(copy, "dvc", "metrics", "show", f"{PAPER}/runs/mini/baseline/metrics.json")
    assert "top1.mean" in shown and max(map(len, shown.splitlines())) <= 100
    plots = run(copy, "dvc", "plots", "show", "--json", f"{PAPER}/runs/mini/baseline/curves.csv")
    assert "test_top1" in plots
    assert "papertrail sync" not in first
    commit(copy)

    assert "Running stage" not in run(copy, "dvc", "repro", PAPER)
    reader = copy / "shared/datasets/fashion_mnist.py"
    reader.write_text(f"{reader.read_text()}\n# A comment on data that no stage of this paper reads.\n")
    assert "Running stage" not in run(copy, "dvc", "repro", PAPER)

    # The README's other seed, after an edit: what it changes are the runs, and one line of params.yaml.
    known = [sys.executable, "-c", f"from shared.ledger.verdicts import changed; print(changed({SLUG!r}))"]
    assert run(copy, *known) == "[]\n"
    model = copy / PAPER / "model.py"
    model.write_text(f"{model.read_text()}\n\nimport shared.layers.shuffle  # of which dvc.yaml does not know\n")
    commit(copy)
    assert run(copy, *known) == f"['{PAPER}/model.py']\n"
    params = copy / PAPER / "params.yaml"
    before = params.read_text()
    again = run(copy, "dvc", "exp", "run", PAPER, "--set-param", f"{PAPER}/params.yaml:mini.seed=100")
    assert f"{PAPER}/dvc.yaml:train-mini@baseline" in again
    assert f"run `papertrail sync`, or DVC misses changes: dvc.yaml, {PAPER}/dvc.yaml" in again
    assert params.read_text() == before.replace("seed: 0\n", "seed: 100\n")
    assert run(copy, *known) == "[]\n"
    names = [line[3:] for line in run(copy, "git", "status", "--porcelain").splitlines()]
    assert [name for name in names if not ALLOWED.fullmatch(name)] == [f"{PAPER}/params.yaml"]
