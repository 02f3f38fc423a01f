from __future__ import annotations

from pathlib import Path

import pytest
import torch

from shared.checkpoints.export import export
from shared.checkpoints.pin import pin
from shared.errors import PapertrailError

from .conftest import REF


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_an_export_computes_the_same(repository: Path, finished: Path, tmp_path: Path, form: str) -> None:
    pin([finished])
    out = tmp_path / "out" / f"ghost.{form}"
    assert export(REF, out, form) <= 1e-4  # type: ignore[arg-type]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_an_export_that_differs_is_not_written(
    repository: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.checkpoints import export as exporting

    pin([finished])
    monkeypatch.setattr(exporting, "_program", lambda model, images: (b"", torch.full((3, 10), 9.0)))
    with pytest.raises(PapertrailError, match="not written"):
        export(REF, tmp_path / "ghost.pt2", "torch")
    assert not (tmp_path / "ghost.pt2").exists()
