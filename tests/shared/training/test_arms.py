"""An arm from its seeds to its summary."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from shared.errors import PapertrailError
from shared.files import read_json
from shared.training import arms

from .protocols import tiny

QUICK = tiny(epochs=1, batch_size=500).model_copy(update={"repeats": 2})


@pytest.fixture(autouse=True)
def protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arms, "protocol_with", lambda *_: QUICK)


def test_an_arm_is_trained_then_evaluated_and_summed_up(tmp_path: Path) -> None:
    folder = tmp_path / "tiny" / "ghost"
    with pytest.raises(PapertrailError, match=r"shared\.training train papers/ghostnet tiny ghost --seed 0` makes it"):
        arms.evaluate_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    (folder / "seeds" / "9").mkdir(parents=True)  # of an earlier protocol
    (folder / "seeds" / ".DS_Store").touch()
    arms.train_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    assert sorted(path.name for path in (folder / "seeds").iterdir() if path.is_dir()) == ["0", "1"]
    rows = list(csv.DictReader((folder / "curves.csv").open()))
    assert [(row["seed"], row["epoch"], row["step"]) for row in rows] == [("0", "1", "8"), ("1", "1", "8")]
    assert not (folder / "metrics.json").exists()

    found = arms.evaluate_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    assert read_json(folder / "metrics.json") == found and found.keys() == {"top1", "top5", "loss"}
    first, second = found["top1"]["seeds"].values()
    assert found["top1"]["mean"] == pytest.approx((first + second) / 2, abs=1e-3)
    assert found["top1"]["std"] == pytest.approx(abs(first - second) / 2**0.5, abs=1e-3)
    arms.train_arm("ghostnet", "tiny", "ghost", runs=tmp_path)
    assert (folder / "metrics.json").exists(), "nothing was trained"
    (folder / "seeds" / "1" / "weights.safetensors").unlink()
    arms.train_arm("ghostnet", "tiny", "ghost", seed=1, runs=tmp_path)
    assert not (folder / "metrics.json").exists(), "what was measured of other weights is gone"
