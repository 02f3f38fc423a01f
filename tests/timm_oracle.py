"""timm, an oracle, without torchvision: this project does without it, and timm's networks need nothing of it to run."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

NAMES = (
    "", ".ops", ".ops.misc", ".transforms", ".transforms.functional", ".datasets", ".models",
    ".models.feature_extraction",
)  # fmt: skip


class _Anything(type):
    """A class whose every attribute is a class of the same kind."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


class _Absent(types.ModuleType):
    """Stands for a module of torchvision while timm is imported."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Anything(name, (), {})


def import_timm() -> Any:
    """The package timm; the stand-ins for torchvision are gone again afterwards."""
    if "timm" in sys.modules:
        return sys.modules["timm"]
    stand_ins = {f"torchvision{name}": _Absent(f"torchvision{name}") for name in NAMES}
    for name, module in stand_ins.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(stand_ins[parent], last, module)
    sys.modules.update(stand_ins)
    try:
        return importlib.import_module("timm")
    finally:
        for name in stand_ins:
            del sys.modules[name]
