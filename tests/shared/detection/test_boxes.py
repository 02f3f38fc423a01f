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
from PIL import ExifTags, Image

from shared import datasets
from shared.datasets import find
from shared.datasets.spec import Boxes, BoxSplit
from shared.detection import packed
from shared.detection.boxes import DetectionSet, detection_set
from shared.errors import DataError, UsageError
from shared.files import ROOT
from tests.shared.detection.made import CLASSES, coco_content, voc_object, voc_xml, write_coco, write_voc

needs_data = pytest.mark.skipif(not os.environ.get("PAPERTRAIL_DATA"), reason="PAPERTRAIL_DATA names no folder")


NAMES = [name for name in datasets.names() if datasets.spec(name).boxes]


# The sets


def test_what_is_not_voc_says_so_wherever_it_is_named():
    assert "not VOC data" in datasets.spec("voc_from_coco").title
    assert "not VOC data" in (ROOT / "data" / "voc_from_coco" / "README.md").read_text(encoding="utf-8").splitlines()[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_set_is_complete(name):
    known = detection_set(name)
    assert known.name == name and len(known.classes) == known.spec.classes
    assert datasets.describe(name)["layout"] == known.layout


def test_another_set_is_a_usage_error():
    with pytest.raises(UsageError, match="no data set `coco2017`; did you mean coco"):
        detection_set("coco2017")
    with pytest.raises(
        UsageError, match="mnist5k: is a set without boxes; those with boxes: coco, coco_subset, digit_"
    ):
        detection_set("mnist5k")


def test_nothing_here_needs_mmdetection():
    code = (
        "import sys; sys.modules['mmdet'] = sys.modules['mmcv'] = sys.modules['mmengine'] = None\n"
        "from shared.detection import boxes, metrics\n"
        "known = boxes.detection_set('digit_scenes')\n"
        "print(metrics.evaluate(known, 'test', [])['ap'], len(known.read('train')), len(known.category_ids))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.0", "600", "10"]


# The real ones


@pytest.mark.parametrize("name", ["digit_scenes", "digit_scenes_voc"])
def test_the_embedded_set_is_made_and_verified(name):
    found = datasets.prepare(name)
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
    found = datasets.prepare("coco_subset")["annotations"]
    assert found["train"] == {
        "images": 341, "without_boxes": 1, "boxes": 2964, "ignored": 19, "smallest_class": 2, "largest_class": 681,
    }  # fmt: skip
    assert (found["test"]["images"], found["test"]["boxes"], found["test"]["ignored"]) == (328, 2640, 21)
    assert detection_set("coco_subset").category_ids[-1] == 90


@needs_data
def test_vocs_form_of_the_coco_subset_has_its_very_objects():
    """All 2,915, in the same order, to the half pixel that rounding takes."""
    assert datasets.prepare("voc_from_coco")["annotations"]["train"]["images"] == 270
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
    assert detection_set(name).root() is None and datasets.describe(name)["found"] == {}
    with pytest.raises(DataError, match=rf"{name}: no folder .* is here; unpack .* in the folder that PAPERTRAIL_DATA"):
        datasets.prepare(name)


def test_a_subset_without_its_archive_says_which(elsewhere):
    with pytest.raises(DataError, match=r"coco-subset\.tar: not found; put coco-subset\.tar into the folder that"):
        datasets.prepare("coco_subset")
    with pytest.raises(DataError, match=r"voc-from-coco\.tar: not found; put voc-from-coco\.tar and coco-subset\.tar"):
        datasets.prepare("voc_from_coco")
    assert os.listdir(find.raw_folder("coco_subset")) == []  # nothing half-made


def test_another_archive_of_that_name_is_refused(elsewhere):
    (elsewhere / "coco-subset.tar").write_bytes(b"short")
    with pytest.raises(DataError, match=r"coco-subset\.tar: truncated: 5 bytes, expected 53913600"):
        datasets.prepare("coco_subset")


def test_coco_and_voc_are_found_under_papertrail_data(elsewhere):
    """With one image each, they are there, and are not the whole sets."""
    content = coco_content()
    content["categories"] = [
        {"id": number, "name": name} for number, name in enumerate(datasets.spec("coco").labels, start=1)
    ]
    _, images = write_coco(elsewhere / "coco" / "annotations", content)
    for split in ("train2017", "val2017"):
        shutil.copytree(images, elsewhere / "coco" / split)
        (elsewhere / "coco" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    assert detection_set("coco").root() == elsewhere / "coco"
    with pytest.raises(DataError, match=r"instances_train2017\.json: 3 images, but coco has 118287; unpack train2017"):
        datasets.prepare("coco")

    for year, name in (("2007", "000001"), ("2012", "2008_000001")):
        devkit = elsewhere / "VOCdevkit" / f"VOC{year}"
        made = write_voc(devkit, **{name: voc_xml(name, voc_object("dog", 1, 1, 9, 9))})
        made.rename(made.with_name("trainval.txt"))
    assert detection_set("voc0712").root() == elsewhere
    with pytest.raises(DataError, match=r"VOC2012/ImageSets/Main/trainval\.txt: 2 images, but voc0712 has 16551"):
        datasets.prepare("voc0712")


# Made-up ones, with something wrong


@pytest.fixture
def small(elsewhere):
    """A COCO set of three images."""
    folder = elsewhere / "small"
    file, _ = write_coco(folder)
    shutil.copy(file, folder / "test.json")
    splits = {
        name: BoxSplit(annotations=(f"small/{name}.json",), images="small/images", boxes=4)
        for name in ("train", "test")
    }
    known = {
        "name": "small", "classes": 2, "labels": CLASSES, "counts": {"train": 3, "test": 3}, "files": (),
        "obtain": "get it again", "boxes": Boxes(layout="coco", root="small", splits=splits),
    }  # fmt: skip
    return DetectionSet(datasets.spec("coco").model_copy(update=known))


def test_a_sound_set_is_counted(small):
    counted = {
        "images": 3, "without_boxes": 1, "boxes": 4, "ignored": 1, "smallest_class": 2, "largest_class": 2,
    }  # fmt: skip
    assert small.count()["annotations"] == {"train": counted, "test": counted}


def image(small):
    return small.root() / "small" / "images" / "3.jpg"


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
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*: (truncated|cannot be decoded).*; get it again"):
        small.count()


def test_what_is_no_image_is_named(small):
    image(small).write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*: truncated, or no JPEG"):
        small.count()


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_a_format_that_training_does_not_read_is_refused(small, kind):
    Image.new("RGB", (40, 30)).save(image(small), kind)
    with pytest.raises(
        DataError, match=r"3\.jpg: image 3 of .*: truncated, or no JPEG, PNG, BMP or WebP image; get it"
    ):
        small.count()


def test_an_image_that_claims_to_be_huge_is_named(small):
    Image.new("1", (20000, 20000)).save(image(small), "PNG")
    with pytest.raises(DataError, match=r"3\.jpg: image 3 of .*: cannot be decoded .*400000000 pixels.*; get it again"):
        small.count()


def test_an_image_of_another_size_is_named(small):
    Image.new("RGB", (30, 40)).save(image(small))
    with pytest.raises(
        DataError,
        match=r"3\.jpg: image 3 of .*: is stored as 30x40, but 40x30 is recorded: another image.*; get it again",
    ):
        small.count()


def test_the_recorded_size_is_that_of_the_stored_pixels(small):
    """A viewer that follows the EXIF tag shows 40x30, and boxes drawn there are not about what is stored."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (40, 30)).save(image(small), exif=exif)
    assert small.count()["annotations"]["train"]["images"] == 3
    Image.new("RGB", (30, 40)).save(image(small), exif=exif)
    with pytest.raises(
        DataError, match=r"3\.jpg: .* its EXIF orientation, which is not applied here .then store it upright"
    ):
        small.count()


def test_another_number_of_boxes_is_named(small):
    content = coco_content()
    del content["annotations"][0]
    (small.root() / "small" / "test.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"test\.json: 3 boxes, but small has 4; get it again"):
        small.count()


@pytest.fixture
def made(small, monkeypatch):
    """The same set, made here from an archive."""
    root = small.root()
    archive = root / "small.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(root / "small", arcname="small")
    shutil.rmtree(root / "small")
    digests = root.parent / "digests"
    packed.unpack(archive, digests)
    home = small.files.model_copy(update={"home": "small"})
    spec = small.spec.model_copy(update={"digest": packed.digest(digests), "boxes": home})
    return DetectionSet(spec, lambda folder: packed.unpack(archive, folder), packed.digest)


def test_a_set_is_unpacked_once_and_verified(made):
    assert made.root() is None
    assert made.count()["annotations"]["train"]["boxes"] == 4
    assert os.listdir(find.raw_folder("small")) == ["small"]
    before = image(made).stat().st_mtime_ns
    assert made.prepare() == made.root() == find.raw_folder("small")
    assert image(made).stat().st_mtime_ns == before


def test_a_changed_file_is_found(made):
    made.prepare()
    Image.new("RGB", (40, 30)).save(image(made))
    with pytest.raises(
        DataError, match=r"small: the content's digest is \w+, not \w+; delete .*raw/small, then: get it"
    ):
        made.count()


def test_what_does_not_have_the_pinned_digest_is_not_kept(made):
    other = dataclasses.replace(made, spec=made.spec.model_copy(update={"digest": "0" * 64}))
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
