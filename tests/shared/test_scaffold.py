from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from shared import scaffold
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT, read_yaml
from shared.paper import Paper
from shared.scaffold import new, placeholders
from shared.schema import validated
from shared.training.recipe import load_protocols


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scaffold, "ROOT", tmp_path)
    (tmp_path / "papers").mkdir()
    shutil.copy(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    return tmp_path


def test_a_scaffold_has_the_files_of_the_contract_and_marks_what_is_missing(repository: Path) -> None:
    new("res2net")
    ours = {path.name for path in (repository / "papers/res2net").iterdir()}
    theirs = {path.name for path in (ROOT / "papers/ghostnet").iterdir()}
    contract = {"README.md", "__init__.py", "checkpoints", "claims.yaml", "dvc.yaml", "figures.py", "model.py"}
    assert contract | {"paper.yaml", "params.yaml"} == ours <= theirs
    marked = placeholders("res2net")
    assert any("paper.yaml: <<title>>" in line for line in marked) and any("model.py" in line for line in marked)
    assert "@SLUG@" not in "".join(path.read_text() for path in (repository / "papers/res2net").glob("*.*"))


def test_the_root_pipeline_gets_the_stage_and_keeps_the_others(repository: Path) -> None:
    before = YAML(typ="safe").load((repository / "dvc.yaml").read_text())["stages"]
    new("res2net")
    text = (repository / "dvc.yaml").read_text()
    stages = YAML(typ="safe").load(text)["stages"]
    assert stages["papers/res2net"]["cmd"] == "python -m shared.ledger papers/res2net"
    assert {name: stages[name] for name in before} == before and "# One stage for each paper" in text


def test_what_is_not_marked_is_valid_already(repository: Path) -> None:
    new("res2net")
    folder = repository / "papers/res2net"
    assert list(load_protocols(folder / "params.yaml")) == ["mini"]
    validated(Paper, read_yaml(folder / "paper.yaml"), "paper.yaml")
    for name in ("__init__.py", "model.py", "figures.py"):
        compile((folder / name).read_text(), name, "exec")


@pytest.mark.parametrize("slug", ["Res2Net", "2net", "a-b", "a__b", "../up", ""])
def test_a_slug_that_is_no_package_name_is_refused(repository: Path, slug: str) -> None:
    with pytest.raises(UsageError, match="cannot name a Python package"):
        new(slug)
    assert list((repository / "papers").iterdir()) == []


def test_an_existing_paper_is_never_touched(repository: Path) -> None:
    new("res2net")
    with pytest.raises(PapertrailError, match="exists already"):
        new("res2net")
