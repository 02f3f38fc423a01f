"""`python -m shared.notebook papers/<slug>`: execute figures.py as a notebook and write notebooks/<slug>.ipynb.

figures.py (jupytext's percent format) is the source; the notebook is made from it and never edited. It is written as
JupyterLab would save it, so that looking at it changes no file: `before_saving` is JupyterLab's hook for that, which
jupyter_server_config.json, installed with the package, names.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from shared.errors import PapertrailError, UsageError, exit_status
from shared.files import ROOT, slug_of, write_text

CELL_SECONDS = 600
# What ipykernel calls itself; JupyterLab writes it into every notebook that it opens.
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# Code is folded in JupyterLab (`jupyter`) and where notebooks are shown as pages (`tags`).
FOLDED = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}


def source(slug: str) -> Any:
    """The notebook of papers/<slug>/figures.py, not executed, with ids that depend on nothing but the place."""
    import jupytext

    path = ROOT / "papers" / slug / "figures.py"
    if not path.exists():
        raise UsageError(f"{path}: no such file; it is the source of the notebook")
    notebook = jupytext.read(path)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell["metadata"] = FOLDED if cell.cell_type == "code" else {}
    notebook.metadata = {"kernelspec": KERNEL}
    return notebook


def before_saving(model: dict[str, Any], **_: object) -> None:
    """JupyterLab's pre_save_hook: leave out the interpreter's version, which differs from machine to machine."""
    if model["type"] == "notebook":
        _settle(model["content"]["metadata"])


def _settle(metadata: Any) -> None:
    metadata.get("language_info", {}).pop("version", None)


def execute(slug: str) -> Path:
    """Run the notebook in the repository's root and write it with its outputs.

    Raises:
        PapertrailError: a cell ends in an error; nothing is written.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook = source(slug)
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, record_timing=False, resources={"metadata": {"path": str(ROOT)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        failed = max(number for number, cell in enumerate(notebook.cells) if cell.get("execution_count"))
        fault = f"{error.ename}: {error.evalue}"
        raise PapertrailError(f"papers/{slug}/figures.py: cell {failed + 1} failed: {fault}") from error
    _settle(notebook.metadata)
    path = ROOT / "notebooks" / f"{slug}.ipynb"
    write_text(path, nbformat.writes(notebook) + "\n")
    return path


def main() -> int:
    """Execute the notebook of the paper that the one argument names; returns the exit status."""
    return exit_status(_execute_named)


def _execute_named() -> None:
    if len(sys.argv) != 2:
        raise UsageError("usage: python -m shared.notebook papers/<slug>")
    print(execute(slug_of(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
