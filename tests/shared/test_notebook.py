from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import nbformat
import pytest
from PIL import Image, ImageChops, ImageStat

from shared import notebook
from shared.errors import PapertrailError
from shared.files import ROOT, write_text
from shared.notebook import before_saving, source


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A notebook as `execute` writes it."""
    from nbclient import NotebookClient

    cells = source("ghostnet")
    cells.cells = [cell for cell in cells.cells if cell.cell_type == "markdown"][:2]
    cells.cells.append(nbformat.v4.new_code_cell("print(1)", id="code", metadata={"tags": ["hide-input"]}))
    NotebookClient(cells, record_timing=False).execute()
    before_saving({"type": "notebook", "content": cells})
    (tmp_path / "a.ipynb").write_text(nbformat.writes(cells) + "\n", encoding="utf-8")
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


@pytest.mark.parametrize(
    ("cell", "fault"),
    [("import os; os._exit(3)", "Kernel died"), ("raise ValueError('one\\ntwo')", "ValueError: one"),
     ("import time; time.sleep(60)", "A cell timed out")],
)  # fmt: skip
def test_a_cell_that_fails_is_one_line_and_the_notebook_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: str, fault: str
) -> None:
    monkeypatch.setattr(notebook, "ROOT", tmp_path)
    monkeypatch.setattr(notebook, "CELL_SECONDS", 2)
    write_text(tmp_path / "notebooks/tiny.ipynb", "as it was")
    write_text(tmp_path / "papers/tiny/figures.py", f"# %% [markdown]\n# # Tiny\n\n# %%\nx = 1\n\n# %%\n{cell}\n")
    with pytest.raises(PapertrailError, match=rf"^papers/tiny/figures\.py: cell 3 failed: {fault}[^\n]*$"):
        notebook.execute("tiny")
    assert [path.name for path in (tmp_path / "notebooks").iterdir()] == ["tiny.ipynb"]
    assert (tmp_path / "notebooks/tiny.ipynb").read_text() == "as it was"


def test_the_hook_leaves_other_files_alone() -> None:
    before_saving({"type": "file", "content": "text"})


def test_code_is_folded_and_ids_depend_on_the_place_alone() -> None:
    cells = source("ghostnet").cells
    assert [cell["id"] for cell in cells] == [f"cell-{number}" for number in range(len(cells))]
    for cell in cells:
        folded = cell.metadata.get("jupyter", {}).get("source_hidden") and "hide-input" in cell.metadata["tags"]
        assert bool(folded) == (cell.cell_type == "code")


def test_a_picture_keeps_its_looks_in_less_than_half_of_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notebook, "ROOT", tmp_path)
    draw = "import matplotlib.pyplot as plt\n%matplotlib inline\nplt.plot([1, 3, 2]); plt.scatter([0, 1], [2, 2]);"
    save = f"plt.savefig('{tmp_path}/whole.png', bbox_inches='tight')"
    write_text(tmp_path / "papers/tiny/figures.py", f"# %%\n{draw}\n{save}\n")
    cells = nbformat.read(notebook.execute("tiny"), as_version=4).cells
    (picture,) = [output.data["image/png"] for output in cells[0].outputs if "image/png" in output.get("data", {})]
    written = base64.b64decode(picture)
    assert len(written) < (tmp_path / "whole.png").stat().st_size / 2
    with Image.open(io.BytesIO(written)) as small, Image.open(tmp_path / "whole.png") as whole:
        difference = ImageChops.difference(small.convert("RGB"), whole.convert("RGB"))
    assert small.mode == "P"
    assert max(high for _, high in difference.getextrema()) < 50
    assert sum(ImageStat.Stat(difference).mean) / 3 < 0.5
