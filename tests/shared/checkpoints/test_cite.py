from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pybtex.database import parse_string

from shared import datasets
from shared.checkpoints.cite import cite, entry, escaped
from shared.checkpoints.pin import pin
from shared.errors import UsageError
from shared.paper import papers


@pytest.mark.parametrize("slug", papers())
def test_every_paper_can_be_cited(slug: str) -> None:
    (key,) = parse_string(cite(slug), "bibtex").entries.values()
    assert key.persons["author"] and key.fields["title"] and int(key.fields["year"]) > 1990


@pytest.mark.parametrize("name", list(datasets.DATASETS))
def test_every_data_set_can_be_cited(name: str) -> None:
    assert len(parse_string(datasets.spec(name).bibtex, "bibtex").entries) == 1


def test_a_checkpoint_is_cited_with_its_paper_and_its_data(repository: Path, finished: Path) -> None:
    card = pin(finished)
    entries = parse_string(cite(card.ref), "bibtex").entries
    assert len(entries) == 3 and "lecun1998mnist" in entries
    weights = entries["papertrail:ghostnet:ghost-tiny-3"]
    note = weights.fields["note"].replace("\\_", "_")
    for part in (card.sha256, card.tag, "seed 3", "protocol tiny", "Apache-2.0", "ghost_vgg16"):
        assert part in note
    assert weights.fields["year"] == card.pinned[:4]
    assert len(entries["han2020ghostnet"].persons["author"]) == 6


def test_what_is_not_there_is_wrong_usage(repository: Path) -> None:
    with pytest.raises(UsageError, match="no paper `nosuch`"):
        cite("nosuch")
    with pytest.raises(UsageError, match="no checkpoint `ghostnet/nosuch`"):
        cite("ghostnet/nosuch")


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1))
def test_any_text_survives_a_parser(text: str) -> None:
    """BibTeX ends a field at an unbalanced brace and an entry at a stray at-sign outside of one."""
    written = entry("misc", "key", {"note": escaped(text), "year": "2020"})
    fields = parse_string(written, "bibtex").entries["key"].fields
    assert fields["note"] == escaped(text) and fields["year"] == "2020"
