"""Others' networks: their file, their normalisation, and the images that they are right about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from papers.rethinking_pruning.upstream import PUBLISHED
from shared.datasets.spec import Split
from shared.errors import DataError
from shared.weights import published

ONE = replace(PUBLISHED["resnet20"], mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def test_a_file_that_is_missing_or_not_the_published_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(published, "data_root", lambda: None)
    with pytest.raises(DataError, match="PAPERTRAIL_DATA is not set"):
        ONE.network()
    monkeypatch.setattr(published, "data_root", lambda: tmp_path)
    with pytest.raises(DataError, match="missing"):
        ONE.network()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / ONE.file).write_bytes(b"no weights")
    with pytest.raises(DataError, match=f"sha256 {ONE.sha256}"):
        ONE.network()


class Brightness(nn.Module):
    """Its answer is 1 for an image whose mean is above zero."""

    def forward(self, images: Tensor) -> Tensor:
        above = images.mean((1, 2, 3)) > 0
        return torch.stack([~above, above], 1).float()


def test_images_are_normalised_as_the_network_knows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.tensor([0, 120, 130, 255], dtype=torch.uint8)[:, None, None, None].expand(4, 3, 2, 2).contiguous()
    split = Split(images, torch.tensor([0, 0, 1, 0]))

    class Opened:
        def read(self, name: str) -> Split:
            assert name == "test"
            return split

    monkeypatch.setattr(published.datasets, "opened", lambda data: Opened())
    monkeypatch.setattr(published, "BATCH", 3)
    assert ONE.right(Brightness()) == 3
    assert ONE.right(Brightness(), images=2) == 2
    assert replace(ONE, mean=(0.0, 0.0, 0.0)).right(Brightness()) == 2
