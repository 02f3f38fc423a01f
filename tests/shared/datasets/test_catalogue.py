import json

import pytest

from shared.datasets import DATASETS, describe, fingerprint, prepare, spec
from shared.errors import UsageError
from shared.files import ROOT


@pytest.mark.parametrize("name", DATASETS)
def test_each_readme_states_the_specification(name):
    known = spec(name)
    text = (ROOT / "data" / name / "README.md").read_text(encoding="utf-8")
    pins = [file.sha256 or file.md5 or "" for file in known.files]
    wanted = [known.title, known.source, known.licence, known.note, known.leakage, known.obtain, *pins]
    wanted += [f"{count:,}" for count in known.counts.values()]
    for statement in (*wanted, known.digest or ""):
        assert statement in text


@pytest.mark.parametrize("name", DATASETS)
def test_each_file_is_pinned_by_a_whole_hash(name):
    for file in spec(name).files:
        algorithm, digits = file.pin.split(":")
        assert len(digits) == {"sha256": 64, "md5": 32}[algorithm] and set(digits) <= set("0123456789abcdef")


def test_fingerprints_are_distinct_and_do_not_change():
    assert len({fingerprint(name) for name in DATASETS}) == len(DATASETS)
    assert fingerprint("mnist5k") == "d3a1619e9a31ac6f0f21bdbe4b0fdcee96460ed45587591fba5147d243b98259"
    assert fingerprint("cifar10_jpeg") == "9fa641f204685fa5e416717fbcdd28e6cbfafff2875c9d36de8f9665c1e2b690"


@pytest.mark.parametrize("name", DATASETS)
def test_a_description_is_json_and_says_how_to_get_what_is_missing(name):
    report = json.loads(json.dumps(describe(name)))
    assert report["name"] == name and report["obtain"]
    assert set(report["found"]).isdisjoint(report["missing"]) and (report["found"] or report["missing"])


def test_preparing_the_embedded_set_counts_its_classes():
    report = prepare("mnist5k")
    assert report["missing"] == []
    assert report["classes_counted"] == {
        "train": {"smallest": 400, "largest": 400},
        "test": {"smallest": 100, "largest": 100},
    }


def test_an_unknown_set_is_a_usage_error():
    with pytest.raises(UsageError, match="no data set 'cifar'; known: mnist5k"):
        describe("cifar")
