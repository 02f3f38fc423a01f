from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.checkpoints.pin import pin
from shared.errors import PapertrailError
from shared.weights.card import read_card

from .conftest import make_run


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_changed_byte_in_a_card_is_refused_by_name(repository: Path, place: float, byte: int) -> None:
    path = repository / "papers/ghostnet/checkpoints/ghost-tiny-3.json"
    if not path.exists():
        pin([make_run(repository)])
    good = path.read_bytes()
    bad = bytearray(good)
    where = int(place * len(bad))
    bad[where] = byte if byte != bad[where] else byte ^ 1
    path.write_bytes(bad)
    with pytest.raises(PapertrailError, match=r"ghost-tiny-3\.json"):
        read_card(path)
    path.write_bytes(good)


def test_a_card_under_another_name_is_refused(repository: Path, finished: Path) -> None:
    pin([finished])
    folder = repository / "papers/ghostnet/checkpoints"
    (folder / "better.json").write_bytes((folder / "ghost-tiny-3.json").read_bytes())
    with pytest.raises(PapertrailError, match="this is the card of `ghost-tiny-3`"):
        read_card(folder / "better.json")


def test_line_ends_are_no_part_of_a_card(repository: Path, finished: Path) -> None:
    (card,) = pin([finished]).checkpoints
    path = repository / "papers/ghostnet/checkpoints/ghost-tiny-3.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_card(path) == card
