from __future__ import annotations

from pathlib import Path

import pytest

from shared.datasets import find


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository, and the empty folder in it that PAPERTRAIL_DATA names."""
    (tmp_path / "given").mkdir()
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path / "given"))
    return tmp_path / "given"
