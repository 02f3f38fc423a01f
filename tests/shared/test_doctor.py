from __future__ import annotations

import importlib
from typing import Any

import pytest

from shared import doctor


def states() -> dict[str, doctor.Finding]:
    return {finding.part: finding for finding in doctor.examine()}


def test_a_machine_that_runs_the_tests_lacks_nothing_for_training() -> None:
    found = states()
    assert found["Python"].state == found["training"].state == "ok" and "torch 2." in found["training"].detail


@pytest.mark.parametrize(
    ("missing", "part", "remedy"),
    [
        ("onnx", "ONNX export", "make install"),
        ("mmdet", "detection", "make install"),
        ("mmcv.ops", "detection", "make detection"),
    ],
)
def test_what_is_missing_comes_with_the_command_that_mends_it(
    missing: str, part: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name == missing:
            raise ImportError(f"no module named {name}")
        return whole(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    found = states()[part]
    assert (found.state, found.remedy) == ("missing", remedy) and missing in found.detail


def test_the_data_folder_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.delenv("PAPERTRAIL_DATA", raising=False)
    assert states()["PAPERTRAIL_DATA"].state == "optional"
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path / "nowhere"))
    found = states()["PAPERTRAIL_DATA"]
    assert (found.state, found.remedy) == ("missing", "correct or unset the variable")
    assert found.detail == f"PAPERTRAIL_DATA={tmp_path / 'nowhere'}: no such folder", "a remedy is told once"
