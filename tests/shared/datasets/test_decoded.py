"""Decoding on all cores gives what one core gives; what was decoded is kept, and is what was written or refused."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch

from shared import datasets
from shared.datasets import decoded, file_tree
from shared.datasets.spec import Split
from shared.errors import DataError
from tests.shared.datasets.made import jpeg


@pytest.mark.skipif(multiprocessing.get_start_method() != "fork", reason="one process decodes here")
def test_all_cores_decode_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = datasets.spec("cifar10")
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


def test_images_are_decoded_once_and_a_flipped_byte_is_refused(elsewhere: Path) -> None:
    counts = {"train": 20, "test": 10}
    spec = datasets.spec("cifar10").model_copy(update={"counts": counts})
    made = {
        split: Split(
            torch.stack([decoded.decode_one(spec, jpeg(number), "here") for number in range(count)]),
            torch.arange(count) % 10,
        )
        for split, count in counts.items()
    }
    train = decoded.read(spec, "train", lambda: made)  # type: ignore[arg-type, return-value]
    assert torch.equal(train.images, made["train"].images) and torch.equal(train.labels, made["train"].labels)
    again = decoded.read(spec, "train", lambda: pytest.fail("decoded twice"))
    assert torch.equal(again.images, train.images)
    kept = decoded.kept(spec, "train")
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(DataError, match=rf"{kept}: its content is not what was written"):
        decoded.read(spec, "train", lambda: made)  # type: ignore[arg-type, return-value]
    other = spec.model_copy(update={"digest": "0" * 64})
    with pytest.raises(DataError, match=r"decoded\.json: missing or of another version"):
        decoded.read(other, "test", lambda: made)  # type: ignore[arg-type, return-value]


def test_a_truncated_zip_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"a\.zip: truncated"), file_tree.opened(tmp_path / "a.zip"):
        pass
