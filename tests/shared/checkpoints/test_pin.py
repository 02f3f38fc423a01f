from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pybtex.database import parse_string
from ruamel.yaml import YAML

from papers.ghostnet import MODELS
from shared import datasets
from shared.checkpoints import verify as verifying
from shared.checkpoints.card import read_card
from shared.checkpoints.cite import cite
from shared.checkpoints.export import export
from shared.checkpoints.load import load_checkpoint
from shared.checkpoints.pin import pin
from shared.checkpoints.verify import verify
from shared.errors import PapertrailError, UsageError

from .conftest import ARGS, make_run

REF = "ghostnet/ghost-tiny-3"


def files(repository: Path) -> list[str]:
    return sorted(path.name for path in (repository / "papers/ghostnet/checkpoints").glob("*"))


def test_a_pinned_run_comes_back_as_the_same_network(repository: Path, finished: Path) -> None:
    card = pin(finished)
    assert card.ref == REF and card.tag == "papers/ghostnet=ghost-tiny-3@v1.0.0"
    model, again = load_checkpoint(REF)
    assert again == card and not model.training
    torch.manual_seed(0)
    images = torch.randn(2, 1, 28, 28)
    torch.manual_seed(0)
    original = MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1).eval()
    assert torch.equal(model(images), original(images))


def test_pinning_declares_the_artifact_and_keeps_comments(repository: Path, finished: Path) -> None:
    pin(finished)
    text = (repository / "papers/ghostnet/dvc.yaml").read_text()
    assert "# A comment that stays." in text
    declared = YAML(typ="safe").load(text)["artifacts"]["ghost-tiny-3"]
    assert declared["path"] == "checkpoints/ghost-tiny-3.safetensors" and declared["type"] == "model"


def test_a_pinned_name_is_never_overwritten_but_superseded(repository: Path, finished: Path) -> None:
    pin(finished)
    before = {name: (repository / "papers/ghostnet/checkpoints" / name).read_bytes() for name in files(repository)}
    with pytest.raises(UsageError, match="never overwritten"):
        pin(finished)
    newer = pin(finished, "ghost-tiny-3-v2", supersedes="ghost-tiny-3")
    assert newer.supersedes == "ghost-tiny-3"
    after = {name: (repository / "papers/ghostnet/checkpoints" / name).read_bytes() for name in before}
    assert after == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"code": "a" * 40 + "-dirty"}, "no commit holds"),
        ({"sha256": "f" * 64}, "its SHA-256 is"),
        ({"args": {"width": 0.125}}, "has the shape"),
        ({"model": "ghost_vgg17"}, "no model `ghost_vgg17`; there are"),
        ({"data_hash": "short"}, "data_hash"),
    ],
)
def test_a_run_that_cannot_be_trusted_is_refused_and_nothing_is_left(
    repository: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(PapertrailError, match=message):
        pin(make_run(tmp_path / "bad", **changes))
    assert files(repository) == []
    assert "artifacts" not in (repository / "papers/ghostnet/dvc.yaml").read_text()


def test_a_folder_without_a_run_and_a_bad_name_are_wrong_usage(repository: Path, finished: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        pin(repository)
    with pytest.raises(UsageError, match="no checkpoint name"):
        pin(finished, "Ghost_1")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_in_a_card_is_refused_by_name(repository: Path, tmp_path: Path, place: float, bit: int) -> None:
    path = repository / "papers/ghostnet/checkpoints/ghost-tiny-3.json"
    if not path.exists():
        pin(make_run(tmp_path / "run"))
    good = path.read_bytes()
    bad = bytearray(good)
    bad[int(place * len(bad))] ^= 1 << bit
    path.write_bytes(bad)
    try:
        meaning = json.loads(bad)
    except ValueError:
        meaning = None
    if meaning != json.loads(good):  # a flip between spaces and line ends changes nothing that the card says
        with pytest.raises(PapertrailError, match=r"ghost-tiny-3\.json"):
            read_card(path)
    path.write_bytes(good)


def test_a_card_under_another_name_is_refused(repository: Path, finished: Path) -> None:
    pin(finished)
    folder = repository / "papers/ghostnet/checkpoints"
    (folder / "better.json").write_bytes((folder / "ghost-tiny-3.json").read_bytes())
    with pytest.raises(PapertrailError, match="this is the card of `ghost-tiny-3`"):
        read_card(folder / "better.json")


def results(ref: str) -> dict[str, str]:
    return {check.check: check.result for check in verify(ref)}


def test_verify_checks_everything(repository: Path, tmp_path: Path) -> None:
    truth = round(verifying.accuracy(MODELS["ghost_vgg16"](**ARGS, classes=10, in_channels=1), "mnist5k"), 4)
    assert 0 <= truth <= 100
    run = make_run(tmp_path / "run", data_hash=datasets.fingerprint("mnist5k"))
    pin(run)
    model, _ = load_checkpoint(REF)
    found = verifying.accuracy(model, "mnist5k")
    expected = "ok" if abs(found - 10.0) <= 0.05 else "failed"
    assert results(REF) == {"card": "ok", "weights": "ok", "counts": "ok", "logits": "ok", "metric": expected}


def test_verify_names_damage_and_a_changed_data_set(repository: Path, finished: Path) -> None:
    pin(finished)
    assert results(REF)["metric"] == "failed", "the data hash on the card is made up"
    weights = repository / "papers/ghostnet/checkpoints/ghost-tiny-3.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    *_, last = verify(REF)
    assert last.result == "failed" and "ghost-tiny-3.safetensors" in last.detail


def test_an_unknown_checkpoint_lists_those_there_are(repository: Path, finished: Path) -> None:
    pin(finished)
    with pytest.raises(UsageError, match="no checkpoint `ghostnet/other`; there are ghostnet/ghost-tiny-3"):
        list(verify("ghostnet/other"))


def test_a_citation_parses_and_says_which_weights(repository: Path, finished: Path) -> None:
    card = pin(finished)
    entries = parse_string(cite(REF), "bibtex").entries
    assert len(entries) == 3
    weights = entries["papertrail:ghostnet:ghost-tiny-3"].fields["note"].replace("\\_", "_")
    assert card.sha256 in weights and card.tag in weights
    paper = entries["han2020ghostnet"]
    assert paper.fields["year"] == "2020" and len(paper.persons["author"]) == 6


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_an_export_computes_the_same(repository: Path, finished: Path, tmp_path: Path, form: str) -> None:
    pin(finished)
    out = tmp_path / "out" / f"ghost.{form}"
    assert export(REF, out, form) <= 1e-4  # type: ignore[arg-type]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_an_export_that_differs_is_not_written(
    repository: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shared.checkpoints import export as exporting

    pin(finished)
    monkeypatch.setattr(exporting, "_program", lambda model, images, path: torch.zeros(3, 10))
    with pytest.raises(PapertrailError, match="not written"):
        export(REF, tmp_path / "ghost.pt2", "torch")
    assert not (tmp_path / "ghost.pt2").exists()
