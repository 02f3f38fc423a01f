from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import PapertrailError
from shared.files import ROOT
from shared.ledger import Entry, render
from shared.ledger.judge import judge
from shared.ledger.tables import overview
from shared.paper import load_paper, papers

TEXT = "before\n<!-- papertrail:begin a -->\n<!-- papertrail:end a -->\nafter\n"
FILE = Path("README.md")


def test_a_block_is_filled_and_filled_again() -> None:
    once = render.fill(TEXT, "a", "one\n\ntwo", FILE)
    assert once == "before\n<!-- papertrail:begin a -->\none\n\ntwo\n<!-- papertrail:end a -->\nafter\n"
    assert render.fill(once, "a", "one\n\ntwo", FILE) == once
    assert render.fill(once, "a", r"\1", FILE) == TEXT.replace("begin a -->\n", "begin a -->\n\\1\n")


@pytest.mark.parametrize("text", ["", TEXT + TEXT, TEXT.replace("end a", "end b")])
def test_a_page_without_its_marks_is_refused(text: str) -> None:
    with pytest.raises(PapertrailError, match=r"README\.md: . blocks `a`; keep one pair"):
        render.fill(text, "a", "x", FILE)


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return judge("ghostnet")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: list[Entry]) -> Path:
    """A copy of the text of the repository, freshly generated."""
    for name in ("README.md", *(f"papers/ghostnet/{part}" for part in ("README.md", "paper.yaml", "claims.yaml",
                                                                       "params.yaml"))):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for module in ("render", "expand"):
        monkeypatch.setattr(f"shared.ledger.{module}.ROOT", tmp_path)
    monkeypatch.setattr("shared.paper.ROOT", tmp_path)
    monkeypatch.setattr(render, "judge", lambda slug: entries)
    render.update("ghostnet", entries)
    return tmp_path


def test_fresh_text_is_not_stale_and_does_not_change(repository: Path, entries: list[Entry]) -> None:
    assert render.stale("ghostnet") == []
    page = repository / "papers/ghostnet/README.md"
    before = page.stat().st_mtime_ns
    render.update("ghostnet", entries)
    assert page.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("papers/ghostnet/README.md", "5.182M", "5.200M"),
        ("papers/ghostnet/ledger.md", "5.182M", "5.200M"),
        ("papers/ghostnet/verdicts.json", '"deviates"', '"exact"'),
        ("README.md", "GhostNet costs", "GhostNet doubles"),
    ],
)
def test_an_edited_number_is_found(repository: Path, file: str, old: str, new: str) -> None:
    path = repository / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert file in render.stale("ghostnet")


def test_the_ledger_record_has_the_agreed_keys(entries: list[Entry]) -> None:
    keys = ["paper", "id", "where", "row", "quantity", "says", "ours", "check", "protocol", "verdict", "confidence"]
    keys += ["reason", "command", "evidence"]
    assert list(render.verdict_records(entries)[0]) == keys


def test_a_claim_of_several_tables_is_shown_in_each(entries: list[Entry]) -> None:
    sections = {part.split("\n", 1)[0]: part for part in render.ledger("ghostnet", entries).split("## ")}
    for table in ("Table 3", "Table 4", "Table 5"):
        assert "| VGG-16 | 15" in sections[table] and "93.6" in sections[table]
    assert "Printed numbers are recalled where nothing else is said." in sections["Table 2"]


def test_every_claim_is_counted_in_the_ledger(entries: list[Entry]) -> None:
    table = overview(entries).splitlines()[2:]
    counted = sum(int(cell) for line in table for cell in line.split("|")[2:-1] if cell.strip())
    assert counted == sum(len(entry.places) for entry in entries)


PAPER = load_paper("ghostnet")


def test_the_sentence_has_the_numbers_of_the_ledger() -> None:
    paper = PAPER.model_copy(update={"verdict": "It lies {a.b-1} points off, {c}."})
    assert render.sentence(paper, {"a.b-1": "+0.63 (-2.79 to +4.04)", "c": "5.2M"}) == "It lies +0.63 points off, 5.2M."
    with pytest.raises(PapertrailError, match=r"paper\.yaml: verdict: no number was found for `c`"):
        render.sentence(paper, {"a.b-1": "+0.63 (-2.79 to +4.04)", "c": None})


def test_a_paper_with_a_new_sentence_holds_up_no_other(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not judged yet" not in render.papers_table()
    paper = PAPER.model_copy(update={"verdict": "It lies {t9.new.top1} points off."})
    monkeypatch.setattr(render, "load_paper", lambda slug: paper)
    assert "not judged yet" in render.papers_table()


def test_a_main_claim_that_is_not_there_is_named(entries: list[Entry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "load_paper", lambda slug: PAPER.model_copy(update={"main": {"no.such": "exact"}}))
    with pytest.raises(PapertrailError, match=r"main: no claim `no\.such`; there are "):
        render.verdict("ghostnet", entries)


def test_papers_whose_make_target_installs_no_mmcv_are_judged_and_rendered_without_it() -> None:
    detecting = re.findall(r"papers/(\w+)", re.search(r"^DETECTING := .*", (ROOT / "Makefile").read_text(), re.M)[0])
    code = (
        "import sys; sys.modules['mmdet'] = sys.modules['mmcv'] = sys.modules['mmengine'] = None\n"
        "from shared.ledger.render import stale\n"
        "print([stale(slug) for slug in sys.argv[1:]])"
    )
    others = [slug for slug in papers() if slug not in detecting]
    command = [sys.executable, "-c", code, *others]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == f"{[[] for _ in others]}\n" and "ghostnet" in others, done.stderr
