"""Decoding on all cores gives what one core gives."""

from __future__ import annotations

import multiprocessing

import pytest
import torch

from shared import datasets
from shared.datasets import decoded
from shared.errors import DataError
from tests.shared.datasets.made import jpeg


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="one process decodes here")
def test_all_cores_decode_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = datasets.spec("cifar10_jpeg")
    files, labels = [jpeg(number) for number in range(23)], torch.arange(23) % 10
    monkeypatch.setattr(decoded, "PIECE", 4 * 3 * 32 * 32)
    alone = decoded.decode(spec, (files, labels), "here")
    assert torch.equal(alone.images[7], decoded.decode_one(spec, files[7], "here"))
    monkeypatch.setattr(decoded, "MANY", 23)
    started: list[int] = []
    loader = decoded.DataLoader

    def watched(*what: object, num_workers: int, **options: object) -> object:
        started.append(num_workers)
        return loader(*what, num_workers=num_workers, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decoded, "DataLoader", watched)
    monkeypatch.setattr(decoded.os, "sched_getaffinity", lambda _: {0, 1})
    torch.manual_seed(0)
    together = decoded.decode(spec, (files, labels), "here")
    drawn = torch.rand(2)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(2)), "what a network draws afterwards is the same"
    assert started == [2] and torch.equal(together.images, alone.images) and torch.equal(together.labels, labels)
    with pytest.raises(DataError, match=r"^here: an image: truncated, or no JPEG"):
        decoded.decode(spec, ([*files[:9], b"no image", *files[10:]], labels), "here")
