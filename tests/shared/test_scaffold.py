from __future__ import annotations

import importlib.util
import keyword
import sys
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from torch import nn

from shared import scaffold
from shared.errors import PapertrailError, UsageError
from shared.files import read_yaml
from shared.paper import Paper
from shared.scaffold import new, placeholders
from shared.schema import validated
from shared.training.protocol import load_protocols


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Without pipelines, whose imports are looked up in the repository itself: tests/test_pipeline.py has them."""
    monkeypatch.setattr(scaffold, "ROOT", tmp_path)
    monkeypatch.setattr(scaffold, "sync", lambda paper: None)
    for folder in ("papers", "shared", "notebooks"):
        (tmp_path / folder).mkdir()
    return tmp_path


@pytest.mark.parametrize("method", [False, True])
def test_a_scaffold_has_the_files_of_the_contract_and_marks_what_is_missing(repository: Path, method: bool) -> None:
    written = new("res2net", method=method)
    assert written and all(path.is_file() for path in written)
    ours = {path.name for path in (repository / "papers/res2net").iterdir()}
    contract = {"README.md", "__init__.py", "checkpoints", "claims.yaml", "figures.py", "model.py", "paper.yaml",
                "params.yaml", "records"}  # fmt: skip
    assert ours == contract | ({"method.py"} if method else set())
    marked = placeholders("res2net")
    assert any("paper.yaml: <<title>>" in line for line in marked) and any("model.py" in line for line in marked)
    assert any("method.py" in line for line in marked) == method
    assert "@SLUG@" not in "".join(path.read_text() for path in (repository / "papers/res2net").glob("*.*"))


def test_what_is_not_marked_is_valid_already(repository: Path) -> None:
    new("res2net", method=True)
    folder = repository / "papers/res2net"
    protocols = load_protocols(folder / "params.yaml")
    assert list(protocols) == ["mini"] and protocols["mini"].repeats == 1
    validated(Paper, read_yaml(folder / "paper.yaml"), "paper.yaml")
    for name in ("__init__.py", "model.py", "method.py", "figures.py"):
        compile((folder / name).read_text(), name, "exec")


def test_dvc_leaves_the_scaffolds_params_alone_but_for_what_it_sets(repository: Path) -> None:
    new("res2net")
    params = repository / "papers/res2net/params.yaml"
    text = params.read_text(encoding="utf-8")
    apply_overrides(params, ["mini.seed=100", "mini.recipe.optimiser.lr=0.123"])
    wanted = text.replace("seed: 0", "seed: 100").replace("lr: 0.05", "lr: 0.123")
    assert params.read_text(encoding="utf-8") == wanted


def test_the_method_of_the_template_adds_a_term_that_can_be_trained(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new("res2net", method=True)
    spec = importlib.util.spec_from_file_location("res2net_method", repository / "papers/res2net/method.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # pydantic looks its names up there
    spec.loader.exec_module(module)
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))
    term = module.Penalty(name="penalty", penalty=0.5).loss(network)
    term.backward()
    assert term == 1.5 and network[1].weight.grad.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "slug",
    ["Res2Net", "2net", "__x", "x_", "_", "a-b", "a__b", "a.b", "a/b", "../up", "", "a" * 41, "x\n", "netzé", "a b",
     *keyword.kwlist, *keyword.softkwlist],
)  # fmt: skip
def test_a_slug_that_is_no_package_name_is_refused(repository: Path, slug: str) -> None:
    with pytest.raises(UsageError, match="cannot name a Python package"):
        new(slug)
    assert list((repository / "papers").iterdir()) == []


@pytest.mark.parametrize("slug", ["con", "nul", "com1"])
def test_a_slug_that_names_a_device_on_windows_is_refused(repository: Path, slug: str) -> None:
    with pytest.raises(UsageError, match=f"`{slug}` cannot name a folder on Windows"):
        new(slug)
    assert list((repository / "papers").iterdir()) == []


@pytest.mark.parametrize("slug", ["json", "sys", "test", "shared", "papers", "notebooks", "torch", "ruamel"])
def test_a_slug_that_is_a_package_or_a_folder_already_is_refused(repository: Path, slug: str) -> None:
    with pytest.raises(UsageError, match=f"`{slug}` is a Python package already"):
        new(slug)
    assert list((repository / "papers").iterdir()) == []


def test_an_existing_paper_is_never_touched(repository: Path) -> None:
    new("res2net")
    (repository / "papers/GhostNetX").mkdir()  # another case is the same folder on some machines
    for slug in ("res2net", "ghostnetx"):
        with pytest.raises(PapertrailError, match="exists already"):
            new(slug)
