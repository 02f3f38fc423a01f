from __future__ import annotations

from pathlib import Path

import pytest
from pybtex.database import parse_string

from shared import datasets
from shared.checkpoints import cite as citing
from shared.checkpoints.cite import cite, of_paper
from shared.checkpoints.pin import pin
from shared.errors import UsageError
from shared.paper import load_paper, papers


@pytest.mark.parametrize("slug", papers())
def test_every_paper_can_be_cited(slug: str) -> None:
    (entry,) = parse_string(cite(slug), "bibtex").entries.values()
    assert [str(person) for person in entry.persons["author"]] == [
        str(person) for person in of_paper(load_paper(slug))[1].persons["author"]
    ]
    assert entry.fields["title"] == f"{{{load_paper(slug).title}}}" and int(entry.fields["year"]) > 1990


@pytest.mark.parametrize("name", datasets.names())
def test_every_data_set_can_be_cited(name: str) -> None:
    assert len(parse_string(datasets.spec(name).bibtex, "bibtex").entries) == 1


def test_the_text_is_always_the_same() -> None:
    assert cite("ghostnet") == (
        "@inproceedings{han2020ghostnet,\n"
        '    author = "Han, Kai and Wang, Yunhe and Tian, Qi and Guo, Jianyuan and Xu, Chunjing and Xu, Chang",\n'
        '    title = "{GhostNet: More Features from Cheap Operations}",\n'
        '    booktitle = "CVPR 2020",\n'
        '    year = "2020",\n'
        '    eprint = "1911.11907",\n'
        '    archiveprefix = "arXiv"\n'
        "}"
    )


def test_what_is_special_in_tex_is_escaped() -> None:
    paper = load_paper("ghostnet").model_copy(
        update={"venue": "A & B_1, 100 % #1 ~ café", "authors": ("J. Q. de la Ñ",)}
    )
    entry = parse_string(citing._text(*of_paper(paper)), "bibtex").entries["han2020ghostnet"]
    assert entry.fields["booktitle"] == r"A \& B\_1, 100 \% \#1 \textasciitilde\ café"
    assert str(entry.persons["author"][0]) == "de la Ñ, J. Q."


def test_a_checkpoint_is_cited_with_its_paper_and_its_data(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (card,) = pin([finished]).checkpoints
    entries = parse_string(cite(card.ref), "bibtex").entries
    assert len(entries) == 3 and "lecun1998mnist" in entries
    weights = entries["papertrail:ghostnet:ghost-tiny-3"]
    note = weights.fields["note"].replace("\\_", "_").replace("\\%", "%")
    for part in (card.sha256, "seed 3", "protocol tiny", "Apache-2.0", "ghost_vgg16", "top1 10.00 %"):
        assert part in note
    assert "git tag" not in note, "no release has made one"
    assert weights.fields["year"] == card.pinned[:4]
    monkeypatch.setattr(citing, "release_tag", lambda ref: "papers/ghostnet=ghost-tiny-3@v1.0.0")
    assert "git tag papers/ghostnet=ghost-tiny-3@v1.0.0" in cite(card.ref)


def test_what_is_not_there_is_wrong_usage(repository: Path) -> None:
    with pytest.raises(UsageError, match="no paper `nosuch`"):
        cite("nosuch")
    with pytest.raises(UsageError, match="no checkpoint `ghostnet/nosuch`"):
        cite("ghostnet/nosuch")
