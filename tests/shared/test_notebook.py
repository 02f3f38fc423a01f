from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from shared.files import ROOT
from shared.notebook import before_saving, source


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A notebook as `execute` writes it."""
    from nbclient import NotebookClient

    notebook = source("ghostnet")
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "markdown"][:2]
    notebook.cells.append(nbformat.v4.new_code_cell("print(1)", id="code", metadata={"tags": ["hide-input"]}))
    NotebookClient(notebook, record_timing=False).execute()
    before_saving({"type": "notebook", "content": notebook})
    (tmp_path / "a.ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
    return tmp_path / "a.ipynb"


def test_a_notebook_that_jupyterlab_opens_and_saves_keeps_its_bytes(written: Path) -> None:
    """JupyterLab writes the kernel's own name and language into what it opens, and saves that by itself."""
    from ipykernel.ipkernel import IPythonKernel
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_server.services.contents.largefilemanager import LargeFileManager
    from traitlets.config import Config

    before = written.read_bytes()
    config = Config(json.loads((ROOT / "shared/jupyter_server_config.json").read_text(encoding="utf-8")))
    manager = LargeFileManager(root_dir=str(written.parent), config=config)
    model = manager.get("a.ipynb")
    kernel = get_kernel_dict()
    model["content"]["metadata"]["kernelspec"] = {
        "display_name": kernel["display_name"], "language": kernel["language"], "name": "python3",
    }  # fmt: skip
    model["content"]["metadata"]["language_info"] = dict(IPythonKernel.language_info)
    assert "version" in model["content"]["metadata"]["language_info"]
    manager.save(model, "a.ipynb")
    assert written.read_bytes() == before


def test_the_hook_leaves_other_files_alone() -> None:
    before_saving({"type": "file", "content": "text"})


def test_code_is_folded_and_ids_depend_on_the_place_alone() -> None:
    cells = source("ghostnet").cells
    assert [cell["id"] for cell in cells] == [f"cell-{number}" for number in range(len(cells))]
    for cell in cells:
        folded = cell.metadata.get("jupyter", {}).get("source_hidden") and "hide-input" in cell.metadata["tags"]
        assert bool(folded) == (cell.cell_type == "code")
