from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shared import sync as syncing
from shared.files import ROOT
from shared.sync import imported, sync


def test_the_graph_holds_every_file_that_a_run_really_imports() -> None:
    program = (
        "import sys, importlib\n"
        "import shared.training.__main__, shared.training.run, shared.datasets.memory, papers.ghostnet\n"
        "print('\\n'.join(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in ('shared', 'papers')))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    really = {str(Path(line).relative_to(ROOT)) for line in ended.stdout.split()}
    stated = set(imported("shared.training", "ghostnet"))
    assert really <= stated
    assert not {"shared/cli.py", "shared/ledger/judge.py", "shared/bench.py"} & stated, "a run judges nothing"


def test_a_stage_knows_its_figures_and_its_paper() -> None:
    assert "papers/ghostnet/figures.py" in imported("shared.notebook", "ghostnet")
    assert "papers/ghostnet/figures.py" not in imported("shared.training", "ghostnet")
    assert all((ROOT / file).exists() for file in imported("shared.ledger", "ghostnet"))


def test_stale_deps_are_found_written_and_comments_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text(
        "# Kept.\nstages:\n  data:\n    cmd: python -m shared.datasets mnist5k\n    deps:\n      - shared/old.py\n"
        "      - data/raw\n"
    )
    graph = imported("shared.datasets", None)
    monkeypatch.setattr(syncing, "ROOT", tmp_path)
    monkeypatch.setattr(syncing, "imported", lambda module, paper: graph)
    assert sync(check=True) == ["dvc.yaml:data"]
    assert "shared/old.py" in path.read_text(), "--check writes nothing"
    assert sync() == ["dvc.yaml:data"] and sync() == []
    text = path.read_text()
    assert "# Kept." in text and "shared/old.py" not in text and "- data/raw" in text
    assert "- shared/datasets/mnist5k.py" in text
