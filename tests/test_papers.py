"""The contract of a paper's folder, for every paper that there is."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import jupytext
import nbformat
import pytest
import torch
from ruamel.yaml import YAML

from shared.builders import build, models
from shared.checkpoints import cards
from shared.compression.continued import fast_check as compression_check
from shared.detection.standin import fast_check as detection_check
from shared.files import ROOT
from shared.ledger import VERDICTS, judge
from shared.ledger.render import stale
from shared.notebook import source
from shared.paper import load_paper, papers
from shared.scaffold import placeholders
from shared.sync import sync
from shared.training.recipe import load_protocols
from shared.training.run import fast_check

FILES = (
    "README.md", "__init__.py", "checkpoints", "claims.yaml", "dvc.yaml", "figures.py", "paper.yaml", "params.yaml",
)  # fmt: skip
ARMS = [
    (slug, protocol, arm)
    for slug in papers()
    for protocol, spec in load_protocols(ROOT / "papers" / slug / "params.yaml").items()
    for arm in spec.arms
    # An arm that continues others makes their steps on the way.
    if spec.arms[arm].of is None or arm not in {other.of for other in spec.arms.values()}
]
every_paper = pytest.mark.parametrize("slug", papers())


def folder(slug: str) -> Path:
    return ROOT / "papers" / slug


def test_every_folder_is_a_paper() -> None:
    folders = [path.name for path in (ROOT / "papers").iterdir() if path.is_dir() and path.name[0] not in "._"]
    assert sorted(folders) == papers() and papers()


@every_paper
def test_every_file_of_the_contract_is_there_and_filled_in(slug: str) -> None:
    assert [name for name in FILES if not (folder(slug) / name).exists()] == []
    assert any((folder(slug) / name).exists() for name in ("model.py", "method.py"))
    assert placeholders(slug) == []
    assert load_paper(slug).slug == slug


@every_paper
def test_every_model_builds_and_has_defaults(slug: str) -> None:
    package = importlib.import_module(f"papers.{slug}")
    assert package.DEFAULTS.keys() == package.MODELS.keys()
    for name, known in models(slug).items():
        with torch.device("meta"):
            found = build(slug, name, {}, known.classes).eval()(torch.empty(1, *known.input)).shape
        assert found == (1, known.classes) if name in package.MODELS else found[0] == 1


@every_paper
def test_every_claim_has_a_verdict_and_what_is_not_exact_has_a_reason(slug: str) -> None:
    for entry in judge(slug):
        assert entry.verdict in VERDICTS
        assert entry.verdict in ("exact", "within") or entry.reason, entry.id


@every_paper
def test_generated_text_is_fresh(slug: str) -> None:
    assert stale(slug) == [], f"run `python -m shared.ledger papers/{slug}`"


def test_the_deps_of_every_stage_equal_the_imports() -> None:
    assert sync(check=True) == [], "run `papertrail sync`"


@every_paper
def test_the_main_job_is_a_stage_that_needs_every_embedded_arm_and_no_other(slug: str) -> None:
    stage = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"][f"papers/{slug}"]
    metrics = {dep for dep in stage["deps"] if dep.endswith("metrics.json")}
    mini = load_protocols(folder(slug) / "params.yaml")["mini"]
    assert metrics == {f"papers/{slug}/runs/mini/{arm}/metrics.json" for arm in mini.arms}
    assert f"notebooks/{slug}.ipynb" in stage["deps"]


@every_paper
def test_every_pinned_checkpoint_is_declared_under_its_name(slug: str) -> None:
    declared = YAML(typ="safe").load((folder(slug) / "dvc.yaml").read_text()).get("artifacts") or {}
    pinned = {card.name: {"path": f"checkpoints/{card.name}.safetensors", "type": "model"} for card in cards(slug)}
    assert {name: {key: entry[key] for key in ("path", "type")} for name, entry in declared.items()} == pinned


@every_paper
def test_the_notebook_is_the_executed_source_without_errors(slug: str) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{slug}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in source(slug).cells]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(cell.execution_count for cell in code)
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)


@every_paper
def test_the_notebook_reads_and_never_trains(slug: str) -> None:
    code = jupytext.read(folder(slug) / "figures.py").cells
    text = "\n".join(cell.source for cell in code if cell.cell_type == "code")
    assert not re.search(r"shared\.training\.run|pytorch_lightning|\.backward\(|optim\.", text)


@pytest.mark.parametrize(("slug", "protocol", "arm"), ARMS)
def test_every_recipe_runs_two_steps(slug: str, protocol: str, arm: str) -> None:
    module = load_protocols(folder(slug) / "params.yaml")[protocol].module(arm)
    {"training": fast_check, "detection": detection_check, "compression": compression_check}[module](
        slug, protocol, arm
    )
