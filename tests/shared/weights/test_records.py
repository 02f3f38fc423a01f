from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.checkpoints.pin import pin
from shared.errors import PapertrailError, UsageError
from shared.schema import validated
from shared.weights.card import Card, cards, pinned_names
from shared.weights.load import load_checkpoint
from shared.weights.records import Records, identity, protocols_recorded, read_records, records_file, sealed

from ..checkpoints import conftest as pinned
from ..checkpoints.conftest import make_run, network_of

repository, finished = pinned.repository, pinned.finished
FILE = "papers/ghostnet/records/tiny.json"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
@example(place=-1, byte=ord("E"))
def test_a_changed_byte_is_refused_by_name(repository: Path, place: float, byte: int) -> None:
    path = repository / FILE
    if not path.exists():
        pin([make_run(repository, seconds=1e-05)])
    good = path.read_bytes()
    bad = bytearray(good)
    where = good.index(b"1e-05") + 1 if place < 0 else int(place * len(bad))  # 1E-05 is the same number
    bad[where] = byte if byte != bad[where] else byte ^ 1
    path.write_bytes(bad)
    with pytest.raises(PapertrailError, match=r"tiny\.json"):
        read_records("ghostnet", "tiny")
    path.write_bytes(good)


def test_line_ends_are_no_part_of_records(repository: Path, finished: Path) -> None:
    pin([finished])
    before, path = read_records("ghostnet", "tiny"), repository / FILE
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert before is not None and read_records("ghostnet", "tiny") == before


def test_records_under_another_name_are_refused(repository: Path, finished: Path) -> None:
    pin([finished])
    (repository / "papers/ghostnet/records/other.json").write_bytes((repository / FILE).read_bytes())
    with pytest.raises(PapertrailError, match="these are the records of ghostnet/tiny"):
        read_records("ghostnet", "other")
    assert protocols_recorded("ghostnet") == ["other", "tiny"] and read_records("ghostnet", "nosuch") is None


def test_what_systems_and_editors_leave_beside_records_and_cards_is_none(repository: Path, finished: Path) -> None:
    pin([finished])
    before = pinned_names(), [card.name for card in cards("ghostnet")]
    for folder in ("records", "checkpoints", ""):
        place = repository / "papers/ghostnet" / folder
        (place / ".ipynb_checkpoints").mkdir(parents=True)
        for name in ("._tiny.json", "._tiny.safetensors", ".tiny.json.swp", ".DS_Store", "Thumbs.db", "tiny.json~"):
            (place / name).write_bytes(b"\0\5\26\7")
        (place / ".#tiny.json").symlink_to("someone@somewhere.1:2")
    assert protocols_recorded("ghostnet") == ["tiny"]
    assert (pinned_names(), [card.name for card in cards("ghostnet")]) == before


def test_an_unknown_key_and_ragged_curves_are_named(repository: Path, finished: Path) -> None:
    pin([finished])
    records = read_records("ghostnet", "tiny")
    assert records is not None
    content = records.model_dump(mode="json")
    content["arms"]["ghost"]["seeds"]["3"]["curves"]["epoch"] = [1.0, 2.0]
    with pytest.raises(PapertrailError, match=r"arms\.ghost\.seeds\.3.*differ in length"):
        validated(Records, content, "here")
    with pytest.raises(PapertrailError, match=r"invented: unknown key"):
        validated(Records, records.model_dump() | {"invented": 1}, "here")


def test_a_difference_shows_the_line_that_changed(repository: Path, finished: Path) -> None:
    pin([finished])
    before = (repository / FILE).read_text().splitlines()
    make_run(repository, metrics={"top1": 11.0})
    pin([finished], replace=True)
    after = (repository / FILE).read_text().splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new.split(":")[0].strip() for _, new in changed] == ['"metrics"', '"seal"']
    records = read_records("ghostnet", "tiny")
    assert records is not None and sealed(records) == records_file("ghostnet", "tiny").read_text()
    assert json.loads(sealed(records))["arms"]["ghost"]["seeds"]["3"]["metrics"] == {"top1": 11.0}


def test_weights_that_are_not_kept_are_those_of_the_very_run(repository: Path, finished: Path) -> None:
    other = make_run(repository, seed=4, weights=1)
    pin([finished.parent.parent])
    known = identity("ghostnet/ghost-tiny-4")
    assert not isinstance(known, Card) and known.args == identity("ghostnet/ghost-tiny-3").args
    model, again = load_checkpoint("ghostnet/ghost-tiny-4")
    assert again == known and not model.training
    assert all(
        map(bool, [(a == b).all() for a, b in zip(model.parameters(), network_of(other).parameters(), strict=True)])
    )
    make_run(repository, seed=4, weights=2)
    with pytest.raises(
        PapertrailError, match=r"not kept, and .* has others; `papertrail train ghostnet tiny ghost --seed 4`"
    ):
        load_checkpoint("ghostnet/ghost-tiny-4")
    (other / "weights.safetensors").unlink()
    with pytest.raises(PapertrailError, match="there is no run here"):
        load_checkpoint("ghostnet/ghost-tiny-4")
    with pytest.raises(UsageError, match="no checkpoint `ghostnet/ghost-tiny-5`, nor a record"):
        load_checkpoint("ghostnet/ghost-tiny-5")
