from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from pybtex.database import parse_string

from shared import datasets
from shared.checkpoints import cite as citing
from shared.checkpoints import history
from shared.checkpoints.cite import cite, of_paper
from shared.checkpoints.pin import pin
from shared.errors import PapertrailError, UsageError
from shared.files import read_yaml
from shared.paper import load_paper, papers
from shared.weights.given import Given
from shared.weights.records import identity

from .conftest import keep_detector, make_run


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


def test_a_paper_of_a_journal_is_an_article() -> None:
    entry = parse_string(cite("res2net"), "bibtex").entries["gao2021res2net"]
    assert entry.type == "article" and "booktitle" not in entry.fields
    assert entry.fields["journal"] == "IEEE Transactions on Pattern Analysis and Machine Intelligence"
    assert [entry.fields[key] for key in ("volume", "number", "pages", "year")] == ["43", "2", "652--662", "2021"]


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


def plain(bibtex: str, key: str) -> dict[str, str]:
    """The fields of an entry, without TeX's marks."""
    fields = parse_string(bibtex, "bibtex").entries[key].fields
    return {name: value.replace("\\", "") for name, value in fields.items()}


def test_a_detectors_checkpoint_is_cited_by_its_own_metric(repository: Path) -> None:
    detector = keep_detector(repository)
    entry = plain(cite(detector.ref), "papertrail:ghostnet:retina-scenes-0")
    assert "retinanet trained on digit_scenes under protocol scenes, seed 0, ap 1.50 %" in entry["note"]
    assert detector.sha256 in entry["note"]


def test_a_record_is_cited_without_its_weights(repository: Path, finished: Path) -> None:
    make_run(repository, seed=4, weights=1)
    pin([finished.parent.parent])
    entry = plain(cite("ghostnet/ghost-tiny-4"), "papertrail:ghostnet:ghost-tiny-4")
    assert entry["howpublished"].startswith("Repository Papertrail, papers/ghostnet/records/tiny.json, ")
    assert identity("ghostnet/ghost-tiny-4").sha256 in entry["note"] and entry["title"] == (
        "{Papertrail record ghostnet/ghost-tiny-4}"
    )


def test_weights_that_began_with_others_are_cited_with_those(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = Given(source="https://example.org", sha256="7" * 64, licence="MIT", says=None, top1=90.0)
    monkeypatch.setattr(citing, "given", {"ghostnet/theirs": theirs}.__getitem__)
    assert citing._begun({"chain": [{"arm": "ghost"}]}) == []
    (begun,) = citing._begun({"chain": [{"arm": "ghost", "begin": "ghostnet/theirs"}, {"arm": "tuned"}]})
    assert "https://example.org" in begun and "7" * 64 in begun and "MIT" in begun


def test_a_citation_names_repository_path_and_commit(
    repository: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(repository), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def place() -> dict[str, str]:
        return plain(cite(card.ref), "papertrail:ghostnet:ghost-tiny-3")

    monkeypatch.setattr(history, "ROOT", repository)
    (card,) = pin([finished]).checkpoints
    path = "papers/ghostnet/checkpoints/ghost-tiny-3.safetensors"
    git("init", "-q")
    assert place()["howpublished"] == f"Repository Papertrail, {path}, in no commit yet" and "url" not in place()
    git("add", "papers")
    git("commit", "-qm", "weights")
    commit = git("rev-parse", "HEAD")
    git("commit", "-qm", "later", "--allow-empty")
    git("remote", "add", "origin", "https://user:secret@example.org/papers/trail.git")
    assert place()["howpublished"] == f"Repository https://example.org/papers/trail, {path}, commit {commit}"
    assert place()["url"] == "https://example.org/papers/trail"
    (repository / path).write_bytes(b"others")
    assert place()["howpublished"].endswith("in no commit yet")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("git@example.org:a/b.git", "https://example.org/a/b"),
        ("ssh://git@example.org:2222/a/b", "https://example.org/a/b"),
        ("http://example.org/a/b/", "https://example.org/a/b"),
        ("/somebody/s/folder", None),
        ("file:///somebody/s/folder", None),
        (None, None),
    ],
)
def test_an_address_is_one_that_others_can_open(
    monkeypatch: pytest.MonkeyPatch, origin: str | None, expected: str | None
) -> None:
    monkeypatch.setattr(history, "_git", lambda *arguments: origin)
    assert history.address() == expected


def test_a_paper_that_is_still_to_be_filled_in_cannot_be_cited(repository: Path) -> None:
    file = repository / "papers/ghostnet/paper.yaml"
    content = read_yaml(file) | {"title": "<<title>>", "authors": ["<<authors>>"]}
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(PapertrailError, match=r"paper\.yaml: title, authors: still to be filled in"):
        cite("ghostnet")


def test_what_is_not_there_is_wrong_usage(repository: Path) -> None:
    with pytest.raises(UsageError, match="no paper `nosuch`"):
        cite("nosuch")
    with pytest.raises(UsageError, match="no checkpoint `ghostnet/nosuch`"):
        cite("ghostnet/nosuch")
