"""The sets themselves, how they are made and verified, and what is said when something is wrong with them."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from shared.datasets import find
from shared.datasets.spec import DatasetSpec
from shared.detection import packed, sets
from shared.detection.detection_set import DetectionSet, DetectionSplit
from shared.detection.sets import SETS, detection_set, locate, prepare
from shared.errors import DataError, UsageError
from shared.files import ROOT
from tests.shared.detection.made import CLASSES, coco_content, voc_object, voc_xml, write_coco, write_voc

needs_data = pytest.mark.skipif(not os.environ.get("PAPERTRAIL_DATA"), reason="PAPERTRAIL_DATA names no folder")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty repository and an empty PAPERTRAIL_DATA."""
    (tmp_path / "given").mkdir()
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path / "given"))
    return tmp_path / "given"


# The catalogue


@pytest.mark.parametrize("name", SETS)
def test_each_readme_states_the_specification(name):
    known = detection_set(name).spec
    text = (ROOT / "data" / name / "README.md").read_text(encoding="utf-8")
    wanted = [known.title, known.source, known.licence, known.note, known.leakage, known.obtain, known.digest or ""]
    wanted += [file.sha256 or file.md5 or "" for file in known.files]
    wanted += [f"{count:,}" for count in known.counts.values()]
    wanted += [f"{split.boxes:,}" for split in detection_set(name).splits.values() if split.boxes]
    for statement in wanted:
        assert statement in text


def test_what_is_not_voc_says_so_wherever_it_is_named():
    assert "not VOC data" in detection_set("voc_from_coco").spec.title
    assert "not VOC data" in (ROOT / "data" / "voc_from_coco" / "README.md").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_complete(name):
    known = detection_set(name)
    assert known.name == name and len(known.classes) == len(set(known.classes)) == known.spec.classes
    assert set(known.splits) == set(known.spec.counts) == {"train", "test"}
    assert len(known.spec.fingerprint) == 64
    report = json.loads(json.dumps(known.describe()))
    assert report["found"] or report["missing"]


def test_fingerprints_are_distinct():
    assert len({known.spec.fingerprint for known in SETS.values()}) == len(SETS)


def test_an_unknown_set_is_a_usage_error():
    with pytest.raises(
        UsageError, match="no detection data set 'coco2017'; known: digit_scenes, digit_scenes_voc, coco_"
    ):
        detection_set("coco2017")


def test_nothing_here_needs_mmdetection():
    code = (
        "import sys; sys.modules['mmdet'] = sys.modules['mmcv'] = sys.modules['mmengine'] = None\n"
        "from shared.detection import metrics, sets\n"
        "known = sets.detection_set('digit_scenes')\n"
        "print(metrics.evaluate(known, 'test', [])['ap'], len(known.read('train')), len(known.category_ids))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.0", "600", "10"]


# The real ones


@pytest.mark.parametrize("name", ["digit_scenes", "digit_scenes_voc"])
def test_the_embedded_set_is_made_and_verified(name):
    found = prepare(name)
    assert found["missing"] == []
    train, test = found["annotations"]["train"], found["annotations"]["test"]
    assert (train["images"], train["boxes"], train["without_boxes"], train["ignored"]) == (600, 2066, 0, 0)
    assert (test["images"], test["boxes"]) == (200, 709)


def test_the_embedded_set_has_the_mean_and_deviation_that_it_states():
    known = detection_set("digit_scenes")
    pixels = np.stack([np.asarray(Image.open(image.file)) for image in known.read("train")]) / 255
    assert pixels.mean(axis=(0, 1, 2)) == pytest.approx(known.spec.mean, abs=1e-5)
    assert pixels.std(axis=(0, 1, 2)) == pytest.approx(known.spec.std, abs=1e-5)


@needs_data
def test_the_coco_subset_is_verified():
    found = prepare("coco_subset")["annotations"]
    assert found["train"] == {
        "images": 341, "without_boxes": 1, "boxes": 2964, "ignored": 19, "smallest_class": 2, "largest_class": 681,
    }  # fmt: skip
    assert (found["test"]["images"], found["test"]["boxes"], found["test"]["ignored"]) == (328, 2640, 21)
    assert detection_set("coco_subset").category_ids[-1] == 90


@needs_data
def test_vocs_form_of_the_coco_subset_has_its_very_objects():
    """All 2,915, in the same order, to the half pixel that rounding takes."""
    assert prepare("voc_from_coco")["annotations"]["train"]["images"] == 270
    known, origin = detection_set("voc_from_coco"), detection_set("coco_subset")
    names = {
        "aeroplane": "airplane", "motorbike": "motorcycle", "pottedplant": "potted plant",
        "diningtable": "dining table", "sofa": "couch", "tvmonitor": "tv",
    }  # fmt: skip
    labels = np.array([origin.classes.index(names.get(name, name)) for name in known.classes])
    objects = 0
    for split in ("train", "test"):
        originals = {image.file.stem: image for image in origin.read(split)}
        for image in known.read(split):
            original = originals[image.id]
            kept = np.isin(original.labels, labels)
            assert image.file.read_bytes() == original.file.read_bytes()
            assert (image.width, image.height) == (original.width, original.height)
            assert np.array_equal(labels[image.labels], original.labels[kept])
            assert np.array_equal(image.ignored, original.ignored[kept])
            assert np.abs(image.boxes - original.boxes[kept]).max() <= 0.5 + 1e-9
            objects += kept.sum()
    assert objects == 2915


@pytest.mark.parametrize("name", ["coco", "voc0712"])
def test_large_sets_are_never_fetched(elsewhere, name):
    assert locate(name) is None and detection_set(name).describe()["found"] == {}
    with pytest.raises(DataError, match=rf"{name}: no folder .* is here; unpack .* in the folder that PAPERTRAIL_DATA"):
        prepare(name)


def test_a_subset_without_its_archive_says_which(elsewhere):
    with pytest.raises(DataError, match=r"coco-subset\.tar: not found; put coco-subset\.tar into the folder that"):
        prepare("coco_subset")
    with pytest.raises(DataError, match=r"voc-from-coco\.tar: not found; put voc-from-coco\.tar and coco-subset\.tar"):
        prepare("voc_from_coco")
    assert os.listdir(find.raw_folder("coco_subset")) == []  # nothing half-made


def test_another_archive_of_that_name_is_refused(elsewhere):
    (elsewhere / "coco-subset.tar").write_bytes(b"short")
    with pytest.raises(DataError, match=r"coco-subset\.tar: truncated: 5 bytes, expected 53913600"):
        prepare("coco_subset")


def test_coco_and_voc_are_found_under_papertrail_data(elsewhere):
    """With one image each, they are there, and are not the whole sets."""
    content = coco_content()
    content["categories"] = [{"id": number, "name": name} for number, name in enumerate(sets.COCO_CLASSES, start=1)]
    _, images = write_coco(elsewhere / "coco" / "annotations", content)
    for split in ("train2017", "val2017"):
        shutil.copytree(images, elsewhere / "coco" / split)
        (elsewhere / "coco" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    assert locate("coco") == elsewhere / "coco"
    with pytest.raises(DataError, match=r"instances_train2017\.json: 3 images, but coco has 118287; unpack train2017"):
        prepare("coco")

    for year, name in (("2007", "000001"), ("2012", "2008_000001")):
        devkit = elsewhere / "VOCdevkit" / f"VOC{year}"
        made = write_voc(devkit, **{name: voc_xml(name, voc_object("dog", 1, 1, 9, 9))})
        made.rename(made.with_name("trainval.txt"))
    assert locate("voc0712") == elsewhere
    with pytest.raises(DataError, match=r"VOC2012/ImageSets/Main/trainval\.txt: 2 images, but voc0712 has 16551"):
        prepare("voc0712")


# Made-up ones, with something wrong


@pytest.fixture
def small(elsewhere):
    """A COCO set of three images."""
    folder = elsewhere / "small"
    file, _ = write_coco(folder)
    shutil.copy(file, folder / "test.json")
    spec = DatasetSpec(
        name="small", title="", classes=2, shape=(3, 30, 40), counts={"train": 3, "test": 3}, mean=(), std=(),
        source="", licence="", files=(), obtain="get it again", bibtex="", note="", leakage="", labels=CLASSES,
    )  # fmt: skip
    splits = {name: DetectionSplit((f"small/{name}.json",), "small/images", boxes=4) for name in ("train", "test")}
    return DetectionSet(spec, "coco", "small", splits)


def test_a_sound_set_is_counted(small):
    counted = {
        "images": 3, "without_boxes": 1, "boxes": 4, "ignored": 1, "smallest_class": 2, "largest_class": 2,
    }  # fmt: skip
    assert small.verify()["annotations"] == {"train": counted, "test": counted}


def image(small):
    return small.locate() / "small" / "images" / "3.jpg"


def test_a_missing_image_is_named(small):
    image(small).unlink()
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*train\.json: no such file; get it again"):
        small.read("train")


def test_an_empty_image_is_named(small):
    image(small).write_bytes(b"")
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*train\.json: the file is empty; get it again"):
        small.read("train")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_image_is_named(small, kind, part):
    buffer = io.BytesIO()
    Image.open(image(small)).resize((40, 30)).save(buffer, kind)
    image(small).write_bytes(buffer.getvalue()[: int(part * len(buffer.getvalue()))])
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*train\.json: truncated or no image .*; get it again"):
        small.verify()


def test_what_is_no_image_is_named(small):
    image(small).write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*: truncated or no image"):
        small.verify()


def test_an_image_of_another_size_is_named(small):
    Image.new("RGB", (30, 40)).save(image(small))
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*: is 30x40, but 40x30 is recorded: another image"):
        small.verify()


def test_another_number_of_boxes_is_named(small):
    content = coco_content()
    del content["annotations"][0]
    (small.locate() / "small" / "test.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"test\.json: 3 boxes, but small has 4; get it again"):
        small.verify()


@pytest.fixture
def made(small, monkeypatch):
    """The same set, made here from an archive."""
    root = small.locate()
    archive = root / "small.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root / "small", arcname="small")
    shutil.rmtree(root / "small")
    digests = root.parent / "digests"
    packed.unpack(archive, digests)
    spec = dataclasses.replace(small.spec, digest=packed.digest(digests))
    return dataclasses.replace(
        small, spec=spec, home="small", make=lambda folder: packed.unpack(archive, folder), digest=packed.digest
    )


def test_a_set_is_unpacked_once_and_verified(made):
    assert made.locate() is None
    assert made.verify()["annotations"]["train"]["boxes"] == 4
    assert os.listdir(find.raw_folder("small")) == ["small"]
    before = image(made).stat().st_mtime_ns
    assert made.prepare() == made.locate() == find.raw_folder("small")
    assert image(made).stat().st_mtime_ns == before


def test_a_changed_file_is_found(made):
    made.prepare()
    Image.new("RGB", (40, 30)).save(image(made))
    with pytest.raises(
        DataError, match=r"small: the content's digest is \w+, not \w+; delete .*raw/small, then: get it"
    ):
        made.verify()


def test_what_does_not_have_the_pinned_digest_is_not_kept(made):
    other = dataclasses.replace(made, spec=dataclasses.replace(made.spec, digest="0" * 64))
    with pytest.raises(DataError, match="digest is"):
        other.prepare()
    assert os.listdir(find.raw_folder("small")) == []


def test_what_another_process_made_meanwhile_is_kept(made):
    make, place = made.make, find.raw_folder("small") / "small"

    def meanwhile(folder):
        make(folder)
        shutil.copytree(folder, place)
        (place / "first").touch()

    assert dataclasses.replace(made, make=meanwhile).prepare() == place.parent
    assert (place / "first").exists() and os.listdir(place.parent) == ["small"]


def test_a_folder_that_cannot_be_written_is_named(made):
    find.raw_folder("small").parent.mkdir(parents=True)
    find.raw_folder("small").write_text("in the way")
    with pytest.raises(DataError, match=r"data/small/raw: small cannot be written"):
        made.prepare()


# Archives


def tar_of(path, *members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../outside", "set/../../outside", "/outside"])
def test_nothing_is_written_outside_the_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    archive = tar_of(tmp_path / "bad.tar", ("set/good", b"1"), (name, b"2"))
    with pytest.raises(DataError, match=r"bad\.tar: holds .*outside, which is no file inside its folder"):
        packed.unpack(archive, tmp_path / "in")
    assert sorted(os.listdir(tmp_path)) == ["bad.tar", "in"]


def test_links_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds set/link, which is no file"):
        packed.unpack(tar_of(tmp_path / "bad.tar", ("set/link", None)), tmp_path / "in")


def test_a_truncated_archive_is_named(tmp_path):
    archive = tar_of(tmp_path / "cut.tar", ("set/large", bytes(100_000)))
    archive.write_bytes(archive.read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"cut\.tar: truncated or no tar file"):
        packed.unpack(archive, tmp_path / "in")
    archive.write_bytes(b"none")
    with pytest.raises(DataError, match=r"cut\.tar: truncated or no tar file"):
        packed.unpack(archive, tmp_path / "in")


def test_some_files_are_unpacked_under_other_names(tmp_path):
    archive = tar_of(tmp_path / "some.tar", ("set/a/1", b"one"), ("set/2", b"two"))
    packed.unpack(archive, tmp_path / "in", {"a/1": "b/c/first"})
    assert (tmp_path / "in" / "b" / "c" / "first").read_bytes() == b"one"
    assert os.listdir(tmp_path / "in") == ["b"]
    with pytest.raises(DataError, match=r"some\.tar: lacks 3 and 1 more"):
        packed.unpack(archive, tmp_path / "in", {"2": "2", "3": "3", "4": "4"})


def test_a_digest_sees_names_and_bytes(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("1")
    first = packed.digest(tmp_path)
    (tmp_path / "a" / "b").write_text("2")
    second = packed.digest(tmp_path)
    (tmp_path / "a" / "b").rename(tmp_path / "c")
    assert len({first, second, packed.digest(tmp_path)}) == 3


# The stage


def test_the_stage_writes_what_was_verified(elsewhere, monkeypatch):
    monkeypatch.setattr(sets, "ROOT", elsewhere.parent)
    monkeypatch.setattr(sys, "argv", ["", "digit_scenes"])
    assert sets.main() == 0
    written = json.loads((elsewhere.parent / "data" / "digit_scenes" / "verified.json").read_text())
    assert written == json.loads((ROOT / "data" / "digit_scenes" / "verified.json").read_text())
    assert written["fingerprint"] == detection_set("digit_scenes").spec.fingerprint


@pytest.mark.parametrize("arguments, status", [([], 2), (["none"], 2), (["coco"], 1)])
def test_the_stage_fails_with_one_line(elsewhere, monkeypatch, capsys, arguments, status):
    monkeypatch.setattr(sys, "argv", ["", *arguments])
    assert sets.main() == status
    assert capsys.readouterr().err.startswith("papertrail: ")
