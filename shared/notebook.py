"""`python -m shared.notebook papers/<slug>`: execute figures.py as a notebook and write notebooks/<slug>.ipynb.

figures.py (jupytext's percent format) is the source; the notebook is made from it and never edited. It is written as
JupyterLab would save it, so that looking at it changes no file: `before_saving` is JupyterLab's hook for that, which
jupyter_server_config.json, installed with the package, names.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import Any

from shared.errors import PapertrailError, UsageError, exit_status
from shared.files import ROOT, read_text, slug_of, write_text
from shared.paper import load_paper

CELL_SECONDS = 600
# What ipykernel calls itself; JupyterLab writes it into every notebook that it opens.
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
# Code is folded in JupyterLab (`jupyter`) and where notebooks are shown as pages (`tags`).
FOLDED = {"jupyter": {"source_hidden": True}, "tags": ["hide-input"]}


def source(slug: str) -> Any:
    """The notebook of papers/<slug>/figures.py, not executed, with ids that depend on nothing but the place."""
    import jupytext

    notebook = jupytext.reads(read_text(ROOT / "papers" / slug / "figures.py"), fmt="py:percent")
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
        PapertrailError: a cell ends in an error, or the kernel dies; nothing is written.
    """
    import nbformat
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    notebook, started = source(slug), [0]
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(ROOT)}},
        on_cell_start=lambda cell, cell_index: started.append(cell_index),
    )
    client.log.setLevel("CRITICAL")  # what ends the notebook is told in one line
    try:
        client.execute()
    except CellExecutionError as error:
        raise _failed(slug, started, f"{error.ename}: {error.evalue}") from error
    except (RuntimeError, TimeoutError, NoSuchKernel) as error:  # the kernel died, is stuck, or is not there
        raise _failed(slug, started, str(error)) from error
    _settle(notebook.metadata)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _smaller(output.data["image/png"])
    path = ROOT / "notebooks" / f"{slug}.ipynb"
    write_text(path, nbformat.writes(notebook) + "\n")
    return path


def _smaller(picture: str) -> str:
    """A PNG, in base64, with a palette of 256 colours, which says the same to the eye in two fifths of the bytes."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        palette = image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, kmeans=4, dither=Image.Dither.NONE)
    written = io.BytesIO()
    palette.save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def _failed(slug: str, started: list[int], fault: str) -> PapertrailError:
    first = fault.partition("\n")[0]
    return PapertrailError(
        f"papers/{slug}/figures.py: cell {started[-1] + 1} failed: {first}; the notebook is as it was"
    )


def main() -> int:
    """Execute the notebook of the paper that the one argument names; returns the exit status."""
    return exit_status(_execute_named)


def _execute_named() -> None:
    if len(sys.argv) != 2:
        raise UsageError("usage: python -m shared.notebook papers/<slug>")
    print(execute(load_paper(slug_of(sys.argv[1])).slug))


if __name__ == "__main__":
    sys.exit(main())
