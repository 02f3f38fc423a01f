from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from shared import closure, datasets
from shared.datasets import __main__ as stage
from shared.datasets import catalogue
from shared.datasets.augment import Augment
from shared.errors import PapertrailError, UsageError
from shared.files import ROOT, read_json

NAMES = datasets.names()
# Sets with cards in papers/*/checkpoints, and the others that had a data hash when those were made.
FINGERPRINTS = {
    "cifar10_jpeg": "9fa641f204685fa5e416717fbcdd28e6cbfafff2875c9d36de8f9665c1e2b690",
    "coco": "fb58ad5d37bef31a26969a16a8b293f32031ce78e7547daf7df4c8da5a84b1de",
    "coco_subset": "be96eeb1ced2d5328ecb0b72ceddbc758c79e29c2319ae44db92354652130381",
    "digit_scenes": "8872a019c615f70f5859ff80b4cd0590b7f179df2a92c77cc2af7897a7c7b983",
    "digit_scenes_voc": "1bf7469d16df833f174657025f8900bd8b7d020121f16540badf92c1f02e58d1",
    "fashion_mnist": "53831a1bed83882056b0a33a390a20240927d330ddb12d37d4b16efb59287a27",
    "imagenet": "297ac649f6ea1aa2ac7cea7266921733672f0789e68fe1a6e8a3631c4dc11821",
    "imagenet_sample": "7a2013110dc8edc31e663d815f5c235e97584f7b5abcbcd24008f3aade7a921a",
    "imagenette224": "da86b14735b8babbcbb41d8073b9cea8a7e121a8d6f87db9d0616f19b7b0668c",
    "mnist5k": "d3a1619e9a31ac6f0f21bdbe4b0fdcee96460ed45587591fba5147d243b98259",
    "voc0712": "aaca0bef053cce0d973378694b2095f9d4a1ac1d689518f7f1dd092f246b2b61",
    "voc_from_coco": "e22934cde3bb5323ef9205e5a2f567d7b47d3a293798d8c30ad087fb34687a55",
}


@pytest.mark.parametrize("name", NAMES)
def test_each_readme_states_the_specification(name):
    known = datasets.spec(name)
    text = (ROOT / "data" / name / "README.md").read_text(encoding="utf-8")
    wanted = [known.title, known.source, known.terms, known.note, known.leakage, known.obtain, known.digest or ""]
    wanted += [file.sha256 or file.md5 or "" for file in known.files]
    wanted += [f"{count:,}" for count in known.counts.values()]
    wanted += [f"{split.boxes:,}" for split in known.boxes.splits.values() if split.boxes] if known.boxes else []
    for statement in wanted:
        assert statement in text


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_complete(name):
    known = datasets.spec(name)
    assert known.name == name and known.files and known.bibtex.startswith("@")
    report = json.loads(json.dumps(datasets.describe(name)))
    assert report["name"] == name and report["obtain"]
    assert set(report["found"]).isdisjoint(report["missing"]) and (report["found"] or report["missing"])


def test_data_hashes_are_distinct_and_do_not_change():
    assert len({datasets.spec(name).fingerprint for name in NAMES}) == len(NAMES)
    assert {name: datasets.spec(name).fingerprint for name in FINGERPRINTS} == FINGERPRINTS


def test_the_cards_carry_the_data_hashes_of_today():
    cards = [read_json(path) for path in ROOT.glob("papers/*/checkpoints/*.json")]
    for card in cards:
        assert card["data_hash"] == datasets.spec(card["data"]).fingerprint, card["data"]


def test_preparing_the_embedded_set_counts_its_classes():
    report = datasets.prepare("mnist5k")
    assert report["missing"] == []
    assert report["classes_counted"] == {
        "train": {"smallest": 400, "largest": 400},
        "test": {"smallest": 100, "largest": 100},
    }


def test_an_unknown_set_is_a_usage_error():
    with pytest.raises(UsageError, match="no data set `cifar`; did you mean cifar10 or cifar100"):
        datasets.describe("cifar")


def test_a_set_with_boxes_has_no_data_module():
    with pytest.raises(UsageError, match="digit_scenes: has boxes, which a detector is trained on"):
        datasets.datamodule("digit_scenes", batch_size=8, augment=Augment(), seed=0)


# set.yaml


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mnist5k", {"licence": "none"}, "licence: unknown key"),
        ("mnist5k", {"classes": 0}, "classes: expected a number above 0, found 0"),
        ("mnist5k", {"mean": [0.1, 0.2]}, "`mean` and `std` need one number for each channel"),
        ("mnist5k", {"counts": {"train": 4000}}, "both splits, `train` and `test`"),
        ("mnist5k", {"counts": {"train": 4000, "val": 1}}, "counts.val"),
        ("mnist5k", {"labels": ["0", "1"]}, "`labels` are 2 different names for 10 classes"),
        (
            "mnist5k",
            {"files": [{"name": "a", "sha256": "abc"}]},
            r"files\.0\.sha256: expected text of the form",
        ),
        ("mnist5k", {"files": [{"name": "a"}]}, r"files\.0: .*give either `sha256` or `md5`"),
        (
            "coco",
            {"boxes": {"layout": "yolo", "root": "x", "splits": {}}},
            r"boxes\.layout: expected 'coco' or",
        ),
        ("mnist5k", {"title": None}, "title: expected text, found null"),
    ],
)
def test_what_is_wrong_in_a_set_yaml_is_named(tmp_path, monkeypatch, name, change, message):
    content = yaml.safe_load((ROOT / "data" / name / "set.yaml").read_text(encoding="utf-8")) | change
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "set.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    with pytest.raises(PapertrailError, match=rf"made/set\.yaml: .*{message}"):
        datasets.spec("made")
    assert datasets.names() == ["made"]


def test_a_set_yaml_that_is_no_mapping_is_named(tmp_path, monkeypatch):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "set.yaml").write_text("- title\n")
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    with pytest.raises(PapertrailError, match=r"made/set\.yaml: expected a mapping, found"):
        datasets.spec("made")


# What is imported


def test_a_set_is_read_by_its_own_module_alone():
    readers = {datasets.module(name) for name in NAMES}
    code = (
        "import sys\n"
        "from shared import datasets\n"
        "from shared.datasets.augment import Augment\n"
        "module = datasets.datamodule('mnist5k', batch_size=8, augment=Augment(), seed=0)\n"
        "module.setup()\n"
        "print('\\n'.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert readers & set(done.stdout.split()) == {"shared.datasets.mnist5k"}


def test_the_files_that_a_set_depends_on_are_those_of_its_reader():
    readers = {datasets.module(name): f"{datasets.module(name).replace('.', '/')}.py" for name in NAMES}
    files = {name: set(closure.imported(["shared.datasets", datasets.module(name)])) for name in NAMES}
    assert files["mnist5k"] & set(readers.values()) == {readers["shared.datasets.mnist5k"]}
    assert not any(file.startswith("shared/detection/") for file in files["cifar10"])
    assert readers["shared.datasets.mnist5k"] in files["digit_scenes"], "the scenes are made of its digits"


# The stage


@pytest.mark.parametrize("name", ["mnist5k", "digit_scenes"])
def test_the_stage_writes_what_was_verified(elsewhere, monkeypatch, name):
    monkeypatch.setattr(stage, "ROOT", elsewhere.parent)
    monkeypatch.setattr(sys, "argv", ["", name])
    assert stage.main() == 0
    written = read_json(elsewhere.parent / "data" / name / "verified.json")
    assert written == read_json(ROOT / "data" / name / "verified.json")
    assert written["fingerprint"] == datasets.spec(name).fingerprint


@pytest.mark.parametrize("arguments, status", [([], 2), (["none"], 2), (["coco"], 1)])
def test_the_stage_fails_with_one_line(elsewhere, monkeypatch, capsys, arguments, status):
    monkeypatch.setattr(sys, "argv", ["", *arguments])
    assert stage.main() == status
    assert capsys.readouterr().err.startswith("papertrail: ")
