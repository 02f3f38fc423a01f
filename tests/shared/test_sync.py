"""The pipelines that `papertrail sync` writes: which stages there are, and what each depends on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared import paper
from shared import sync as syncing
from shared.errors import PapertrailError
from shared.files import ROOT
from shared.sync import sync

PARAMS = """
mini:
  what: pruning on digits
  data: mnist5k
  repeats: 1
  arms:
    base: {builder: vgg19, args: {width: 0.125}}
    tuned-low: {of: pruned, recipe: {optimiser: {lr: 0.01}}}
    pruned: {of: base, prune: {by: scale, ratio: 0.4}}
    tuned: {of: pruned}
  recipe: {epochs: 1, batch_size: 64, optimiser: {name: sgd, lr: 0.1}}
cifar:
  what: the same on other data
  data: cifar10
  needs: one GPU, an hour
  repeats: 1
  arms:
    base: {builder: vgg19}
  recipe: {epochs: 1, batch_size: 64, optimiser: {name: sgd, lr: 0.1}}
  trainer: {accelerator: gpu}
"""
PAPER = "papers/network_slimming"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One paper with the code of network_slimming and the recipes above; its pipelines are not written yet."""
    folder = tmp_path / PAPER
    folder.mkdir(parents=True)
    for name in ("paper.yaml", "figures.py"):
        shutil.copy(ROOT / PAPER / name, folder / name)
    (folder / "params.yaml").write_text(PARAMS)
    monkeypatch.setattr(syncing, "ROOT", tmp_path)
    monkeypatch.setattr(paper, "ROOT", tmp_path)
    monkeypatch.setattr(syncing.datasets, "names", lambda: ["mnist5k"])
    return tmp_path


def stages(repository: Path, file: str = f"{PAPER}/dvc.yaml") -> dict[str, Any]:
    """The stages of a written pipeline by their whole names, with what each has in the place of ${...}."""
    found = {}
    for name, stage in yaml.safe_load((repository / file).read_text())["stages"].items():
        for key, item in stage.get("foreach", {"": {}}).items():
            text = yaml.safe_dump(stage.get("do", stage)).replace("${key}", key)
            for field, value in item.items():
                text = text.replace(f"${{item.{field}}}", value)
            found[f"{name}@{key}" if key else name] = yaml.safe_load(text)
    return found


def test_what_is_stale_is_told_written_and_then_fresh(repository: Path) -> None:
    files = ["dvc.yaml", f"{PAPER}/dvc.yaml", "data/mnist5k/dvc.yaml"]
    assert sync(check=True) == files and not (repository / "dvc.yaml").exists(), "--check writes nothing"
    assert sync() == files and sync() == []
    (repository / PAPER / "params.yaml").write_text(PARAMS.replace("{of: pruned}", "{of: base}"))
    assert sync(check=True) == [f"{PAPER}/dvc.yaml"]
    (repository / "dvc.yaml").write_text("stages: {}\n")
    assert sync() == ["dvc.yaml", f"{PAPER}/dvc.yaml"], "nothing in them is by hand"


def test_checking_writes_nothing_at_all(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout may be read-only, and a cache of the import graph would lie where the command was typed."""
    here = repository / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = sorted(repository.rglob("*"))
    assert len(sync(check=True)) == 3
    assert sorted(repository.rglob("*")) == before


def test_line_ends_of_another_system_are_no_difference(repository: Path) -> None:
    sync()
    for path in (repository / "dvc.yaml", repository / PAPER / "dvc.yaml", repository / PAPER / "params.yaml"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert sync(check=True) == []


BREAKS = {
    "a recipe": (f"{PAPER}/params.yaml", "mini: {what: nothing}", r"network_slimming/params\.yaml: mini"),
    "bytes": (f"{PAPER}/params.yaml", "\udcff", r"network_slimming/params\.yaml: not UTF-8"),
    "a bibliography": (f"{PAPER}/paper.yaml", "[", r"network_slimming/paper\.yaml: not valid YAML"),
    "another's bibliography": (f"{PAPER}/paper.yaml", None, r"paper\.yaml: slug: `ghostnet` is not the folder's name"),
    "no notebook": (f"{PAPER}/figures.py", "", r"network_slimming/figures\.py: no such file"),
    "a data set": ("", "", "broken/set.yaml: an error"),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_broken_is_named_and_everything_else_is_written(
    repository: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    ghost = repository / "papers/ghostnet"
    ghost.mkdir()
    for name in ("paper.yaml", "figures.py", "params.yaml"):
        shutil.copy(ROOT / "papers/ghostnet" / name, ghost / name)
    written = sync()
    before = {name: (repository / name).read_text() for name in written}
    file, text, message = BREAKS[what]
    if what == "a data set":
        monkeypatch.setattr(syncing.datasets, "names", lambda: ["broken", "mnist5k"])
        module = syncing.datasets.module
        monkeypatch.setattr(syncing.datasets, "module", lambda name: broken_set() if name == "broken" else module(name))
    elif what == "no notebook":
        (repository / file).unlink()
    else:
        content = (ghost / "paper.yaml").read_text() if text is None else text
        (repository / file).write_text(content, errors="surrogateescape")
    (ghost / "dvc.yaml").write_text("stages: {}\n")
    with pytest.raises(PapertrailError, match=message):
        sync()
    assert {name: (repository / name).read_text() for name in written} == before


def broken_set() -> str:
    raise PapertrailError("broken/set.yaml: an error")


def test_a_paper_alone_leaves_the_others(repository: Path) -> None:
    files = sync()
    (repository / "data/mnist5k/dvc.yaml").write_text("")
    assert sync(paper="network_slimming", check=True) == []
    (repository / PAPER / "dvc.yaml").write_text("")
    assert sync(paper="ghostnet") == [] and sync(paper="network_slimming") == [f"{PAPER}/dvc.yaml"]
    assert sync() == files[-1:]


def test_conflict_marks_of_git_are_written_over(repository: Path) -> None:
    sync()
    (repository / "dvc.yaml").write_text("<<<<<<< ours\n=======\n>>>>>>> theirs\n")
    assert sync() == ["dvc.yaml"] and sync() == []


def test_every_arm_of_every_protocol_is_made_and_then_measured(repository: Path) -> None:
    sync()
    assert list(stages(repository)) == [
        "train-mini@base", "prune-mini@pruned", "continue-mini@tuned-low", "continue-mini@tuned",
        "evaluate-mini@base", "evaluate-mini@tuned-low", "evaluate-mini@pruned", "evaluate-mini@tuned",
        "train-cifar@base", "evaluate-cifar@base", "notebook",
    ]  # fmt: skip
    commands = {name: stage["cmd"].removeprefix("python -m shared.") for name, stage in stages(repository).items()}
    assert commands["train-cifar@base"] == f"training train {PAPER} cifar base"
    assert commands["prune-mini@pruned"] == f"training prune {PAPER} mini pruned"
    assert commands["continue-mini@tuned"] == f"training train {PAPER} mini tuned"
    assert commands["evaluate-mini@tuned"] == f"training evaluate {PAPER} mini tuned"


def test_a_stage_depends_on_the_keys_that_decide_it_and_on_what_it_reads(repository: Path) -> None:
    sync()
    found = stages(repository)

    def keys(name: str) -> list[str]:
        (params,) = found[name]["params"]
        return params[f"{PAPER}/params.yaml"]

    def files(name: str) -> set[str]:
        return {dep for dep in found[name]["deps"] if not dep.endswith(".py")}

    data = {"mmcv.lock", "requirements.lock", "data/mnist5k/set.yaml", "data/mnist5k/verified.json"}
    assert keys("train-mini@base") == ["mini.data", "mini.repeats", "mini.arms.base", "mini.recipe"]
    assert keys("continue-mini@tuned-low")[-2:] == ["mini.arms.tuned-low", "mini.recipe"]
    assert (
        keys("prune-mini@pruned") == keys("evaluate-mini@pruned") == ["mini.data", "mini.repeats", "mini.arms.pruned"]
    )
    assert "cifar.trainer" in keys("train-cifar@base")
    assert files("train-mini@base") == data
    assert files("prune-mini@pruned") == data | {f"{PAPER}/runs/mini/base/seeds"}
    assert files("continue-mini@tuned") == data | {f"{PAPER}/runs/mini/pruned/seeds"}
    assert files("evaluate-mini@tuned") == data | {f"{PAPER}/runs/mini/tuned/seeds"}
    assert found["evaluate-mini@base"]["metrics"] == [{f"{PAPER}/runs/mini/base/metrics.json": {"cache": False}}]
    assert "plots" in found["train-mini@base"] and "plots" not in found["prune-mini@pruned"]


GIVEN = """
given:
  what: pruning a network of others
  data: cifar10
  repeats: 1
  arms:
    more: {builder: vgg19, begin: rethinking_pruning/resnet20}
    less: {builder: vgg19, begin: rethinking_pruning/resnet20, prune: {by: l1, ratio: 0.4}}
    tuned: {of: less}
  recipe: {epochs: 1, batch_size: 64, optimiser: {name: sgd, lr: 0.1}}
"""


def test_what_begins_with_a_published_network_depends_on_its_record_and_its_code(repository: Path) -> None:
    (repository / PAPER / "params.yaml").write_text(PARAMS + GIVEN)
    sync()
    found = stages(repository)
    record = "papers/rethinking_pruning/upstream.json"
    for name in ("continue-given@more", "prune-given@less"):
        assert record in found[name]["deps"] and "papers/rethinking_pruning/upstream.py" in found[name]["deps"]
        assert len({*found[name]["deps"]}) == len(found[name]["deps"]), "DVC refuses a file that is named twice"
    assert f"{PAPER}/runs/given/less/seeds" in found["continue-given@tuned"]["deps"]
    assert record not in found["continue-given@tuned"]["deps"]


def test_the_main_job_needs_the_runs_of_mini_the_records_and_the_notebook(repository: Path) -> None:
    sync()
    job = stages(repository, "dvc.yaml")[PAPER]
    assert job["cmd"] == f"python -m shared.ledger {PAPER}"
    needs = {f"{PAPER}/{name}" for name in ("claims.yaml", "paper.yaml", "params.yaml", "records", "runs/mini")}
    needs |= {"data/mnist5k/set.yaml", "data/cifar10/set.yaml", "requirements.lock", "mmcv.lock"}
    assert needs | {"notebooks/network_slimming.ipynb"} < set(job["deps"])
    assert job["outs"] == [{f"{PAPER}/verdicts.json": {"cache": False, "persist": True}}]


def test_a_kept_checkpoint_is_an_artifact_and_one_that_training_reads_a_dependency(repository: Path) -> None:
    stated = yaml.safe_load((ROOT / PAPER / "paper.yaml").read_text()) | {"keep": ["tuned-mini-0"]}
    (repository / PAPER / "paper.yaml").write_text(yaml.safe_dump(stated))
    sync()
    assert yaml.safe_load((repository / PAPER / "dvc.yaml").read_text())["artifacts"] == {
        "tuned-mini-0": {"path": "checkpoints/tuned-mini-0.safetensors", "type": "model"}
    }
    adder = yaml.safe_load((ROOT / "papers/adder_detection/dvc.yaml").read_text())["stages"]["train-mini"]["do"]
    assert "papers/adder_detection/checkpoints/adder-small-0.json" in adder["deps"]


def test_what_a_run_imports_is_among_its_deps_and_what_it_does_not_use_is_not() -> None:
    """Runs an arm for two steps and asks Python what it loaded."""
    program = (
        "import sys\n"
        "from shared.training.command import perform\n"
        "perform('train', 'ghostnet', 'mini', 'vgg16', fast=True)\n"
        "for name, module in sys.modules.items():\n"
        "    if name.split('.')[0] in ('shared', 'papers') and module.__file__:\n"
        "        print('file', module.__file__)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    lines = [line.split(" ", 1)[1] for line in ended.stdout.splitlines() if line.startswith("file ")]
    really = {str(Path(line).relative_to(ROOT)) for line in lines}
    train = yaml.safe_load((ROOT / "papers/ghostnet/dvc.yaml").read_text())["stages"]["train-mini"]["do"]["deps"]
    assert "papers/ghostnet/model.py" in really
    assert really <= set(train)
    for unused in (
        "checkpoints/",
        "cli/",
        "compression/",
        "datasets/cifar",
        "detection/",
        "figures/",
        "ledger/",
        "sync.py",
    ):
        assert not [dep for dep in train if dep.startswith(f"shared/{unused}")]
    assert "papers/ghostnet/figures.py" not in train and "papers/ghostnet/detectors.py" not in train


def test_measuring_does_not_depend_on_the_code_that_trains() -> None:
    ghost = yaml.safe_load((ROOT / "papers/ghostnet/dvc.yaml").read_text())["stages"]
    train, evaluate = (set(ghost[name]["do"]["deps"]) for name in ("train-mini", "evaluate-mini"))
    assert {"shared/training/optim.py", "shared/training/callbacks.py"} <= train - evaluate
    assert "papers/ghostnet/model.py" in evaluate
