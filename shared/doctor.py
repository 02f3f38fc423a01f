"""`papertrail doctor`: what this machine has, what it lacks, and the command that mends it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from shared.errors import DataError
from shared.files import ROOT, in_checkout

State = Literal["ok", "missing", "optional"]
INSTALL = "make install"
# What each part of the project imports first.
PARTS = {
    "training": ("torch", "pytorch_lightning"),
    "fast adder layers": ("numba",),
    "packed data sets, RandAugment": ("pyarrow", "kornia"),
    "pipelines": ("dvc", "grimp"),
    "notebooks": ("matplotlib", "nbclient", "jupytext"),
    "ONNX export": ("onnx", "onnxruntime"),
}


@dataclass(frozen=True)
class Finding:
    """One line of the report: "missing" has a `remedy`; "optional" is missing too, but only some work needs it."""

    part: str
    state: State
    detail: str
    remedy: str = ""


def examine() -> Iterator[Finding]:
    """Every part of the project, one finding each."""
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    yield Finding("Python", "ok" if fits else "missing", version, "" if fits else "install Python 3.11, 3.12 or 3.13")
    if not in_checkout():
        yield Finding("repository", "missing", f"{ROOT}: code alone, without claims and data", "clone the repository")
    for part, modules in PARTS.items():
        yield _imports(part, modules, INSTALL)
    yield _operators()
    dvc = shutil.which("dvc")
    yield (
        Finding("dvc on the PATH", "ok", dvc)
        if dvc
        else Finding("dvc on the PATH", "missing", "`dvc repro` is not found", "source .venv/bin/activate")
    )
    if importlib.util.find_spec("torch"):
        yield _gpu()
        yield _data()


def _imports(part: str, modules: tuple[str, ...], remedy: str) -> Finding:
    found = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken library raises whatever it likes
            return Finding(part, "missing", f"{name}: {error}".splitlines()[0], remedy)
        found.append(f"{name} {_version(name)}")
    return Finding(part, "ok", ", ".join(found))


def _operators() -> Finding:
    """MMDetection, and mmcv's compiled operators: a build that saw no torch installs without them and says nothing."""
    found = _imports("detection", ("mmengine", "mmdet"), INSTALL)
    if found.state != "ok":
        return found
    try:
        importlib.import_module("mmcv.ops")
    except ImportError as error:
        return Finding("detection", "missing", f"mmcv's operators: {error}", "make detection")
    return Finding("detection", "ok", f"{found.detail}, mmcv {_version('mmcv')} with its operators")


def _version(module: str) -> str:
    names = importlib.metadata.packages_distributions().get(module, [module])
    return importlib.metadata.version(names[0])


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("GPU", "ok", torch.cuda.get_device_name())
    return Finding("GPU", "optional", "none: `mini` and `small` protocols run without one")


def _data() -> Finding:
    from shared.datasets.find import data_root  # late: it imports PyTorch, which may be what is missing

    try:
        folder = data_root()
    except DataError as error:
        fault, _, remedy = str(error).partition("; ")
        return Finding("PAPERTRAIL_DATA", "missing", fault, remedy)
    if folder is None:
        return Finding(
            "PAPERTRAIL_DATA", "optional", "not set: embedded data only", "export PAPERTRAIL_DATA=/your/data"
        )
    return Finding("PAPERTRAIL_DATA", "ok", str(folder))
