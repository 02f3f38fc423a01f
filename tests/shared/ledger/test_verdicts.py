from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.errors import NotInstalled
from shared.files import ROOT
from shared.ledger import Entry
from shared.ledger import judge as judging
from shared.ledger import verdicts as known
from shared.ledger.verdicts import changed, verdicts

PAPER = "papers/ghostnet"
DEPS = ("shared/ledger/judge.py", "requirements.lock", f"{PAPER}/claims.yaml")
OWN = (f"{PAPER}/runs/mini/vgg16/metrics.json", "notebooks/ghostnet.ipynb")  # of a machine
ENTRY = Entry("ghostnet", "t1", "Table 1", "row", "params", "1M", "2M", "count", None, "deviates", "read", "", "")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What one paper was judged from, with the dvc.lock of it; whoever judges anew finds ENTRY."""
    for name in (*DEPS, *OWN, f"{PAPER}/verdicts.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / PAPER / "records", tmp_path / PAPER / "records")
    monkeypatch.setattr(known, "ROOT", tmp_path)
    monkeypatch.setattr(judging, "judge", lambda slug: [ENTRY])
    lock(tmp_path)
    return tmp_path


def lock(folder: Path) -> None:
    """What DVC writes when the stage has run; of the folder it has written it, in this repository's dvc.lock."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"][PAPER]
    records = next(one for one in whole["deps"] if one["path"] == f"{PAPER}/records")

    def hashed(path: str) -> dict[str, str]:
        return {"path": path, "hash": "md5", "md5": hashlib.md5((folder / path).read_bytes()).hexdigest()}

    stage = {"deps": [*map(hashed, (*DEPS, *OWN)), records], "outs": [hashed(f"{PAPER}/verdicts.json")]}
    (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {PAPER: stage}}))


def test_verdicts_are_read_while_what_they_were_judged_from_is_unchanged(repository: Path) -> None:
    found = verdicts("ghostnet")
    assert changed("ghostnet") == [] and len(found) > 200
    assert {type(entry) for entry in found} == {Entry} and ENTRY not in found


@pytest.mark.parametrize("name", OWN)
def test_what_a_machine_ran_itself_changes_no_verdict(repository: Path, name: str) -> None:
    (repository / name).write_text("{}")
    assert changed("ghostnet") == []
    (repository / name).unlink()
    assert changed("ghostnet") == []


Change = Callable[[Path], object]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, lambda path: path.write_text(f"{path.read_text()}\n")) for name in (*DEPS, f"{PAPER}/verdicts.json")),
        (f"{PAPER}/claims.yaml", Path.unlink),
        (f"{PAPER}/records", lambda path: (path / "cifar.json").write_text("{}")),
        (f"{PAPER}/records", lambda path: (path / "mini.json").unlink()),
        (f"{PAPER}/records", shutil.rmtree),
        ("dvc.lock", Path.unlink),
        ("dvc.lock", lambda path: path.write_text("schema: '2.0'\nstages: {}\n")),
    ],
)
def test_any_change_is_named_and_judged_anew(repository: Path, name: str, change: Change) -> None:
    change(repository / name)
    assert changed("ghostnet") == [name]
    assert verdicts("ghostnet") == [ENTRY]


def test_what_judging_anew_needs_is_told_with_what_has_changed(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(slug: str) -> list[Entry]:
        raise NotInstalled("detectors need mmcv; `make detection` installs it")

    monkeypatch.setattr(judging, "judge", missing)
    assert verdicts("ghostnet"), "nothing is to be judged"
    (repository / PAPER / "claims.yaml").write_text("[]")
    with pytest.raises(
        NotInstalled, match=r"papers/ghostnet: papers/ghostnet/claims\.yaml is not as .*; detectors need"
    ):
        verdicts("ghostnet")
