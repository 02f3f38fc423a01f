from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import ExifTags, Image

from shared.datasets import catalogue, find
from shared.detection.boxes import detection_set
from shared.errors import DataError
from shared.files import ROOT
from tests.shared.detection.made import CLASSES, coco_content, noise, write_coco

mmdet = pytest.importorskip("mmdet.registry")


def build(name, split, **options):
    import shared.detection.mmdet_view  # noqa: F401  (registers itself)

    return mmdet.DATASETS.build({"type": "AnnotatedImages", "name": name, "split": split, "pipeline": []} | options)


@pytest.mark.parametrize("name", ["digit_scenes", "digit_scenes_voc"])
def test_mmdetection_gets_the_boxes_that_were_read(name):
    known = detection_set(name)
    dataset, images = build(name, "test", test_mode=True), known.read("test")
    assert len(dataset) == 200 and dataset.metainfo["classes"] == known.classes
    for position in (0, 7, 199):
        found, image = dataset.get_data_info(position), images[position]
        assert (found["img_id"], found["img_path"]) == (image.id, str(image.file))
        assert (found["width"], found["height"]) == (128, 128)
        assert [one["bbox"] for one in found["instances"]] == image.boxes.tolist()
        assert [one["bbox_label"] for one in found["instances"]] == image.labels.tolist()


@pytest.fixture
def three(monkeypatch, tmp_path):
    """The set "three" of three images; its folder."""
    write_coco(tmp_path / "three")
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path))
    content = yaml.safe_load((ROOT / "data" / "coco" / "set.yaml").read_text(encoding="utf-8"))
    split = {"annotations": ["three/train.json"], "images": "three/images"}
    boxes = {"layout": "coco", "root": "three", "splits": {"train": split, "test": split}}
    content |= {"labels": list(CLASSES), "classes": 2, "counts": {"train": 3, "test": 3}, "boxes": boxes}
    (tmp_path / "three" / "set.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)
    return tmp_path / "three"


def test_images_without_a_box_that_counts_are_left_out_of_training_only(three):
    every = build("three", "train", filter_cfg=None)
    assert [every.get_data_info(position)["img_id"] for position in range(len(every))] == [7, 3, 5]
    assert [one["ignore_flag"] for one in every.get_data_info(1)["instances"]] == [1]
    assert len(build("three", "train", filter_cfg={"filter_empty_gt": True})) == 1  # neither nothing nor a mere crowd
    assert len(build("three", "test", filter_cfg={"filter_empty_gt": True}, test_mode=True)) == 3


# One reading of the images


@pytest.fixture
def pipelines(three):
    """The same folder, where MMDetection's pipelines can be built."""
    pytest.importorskip("mmcv.ops")
    from shared.detection.build import require

    require()
    import shared.detection.registry  # noqa: F401  (registers our data sets and steps)

    return three


def recorded(folder, width, height):
    """Image 7 recorded in that size, with one box over the whole of the recorded image."""
    content = coco_content()
    content["images"][0] |= {"width": width, "height": height}
    content["annotations"] = [content["annotations"][3], content["annotations"][0] | {"bbox": [0, 0, width, height]}]
    (folder / "train.json").write_text(json.dumps(content))


def seven(split="train"):
    """Image 7 as a detector is given it, by the pipeline of a recipe that resizes nothing."""
    from shared.detection.config import dataset
    from shared.detection.recipe import DetectionRecipe

    given = {"epochs": 1, "batch_size": 1, "size": [120, 120], "flip": 0, "optimiser": {"name": "sgd", "lr": 0.01}}
    recipe = DetectionRecipe.model_validate({"task": "detection"} | given)
    images = detection_set("three")
    return mmdet.DATASETS.build(dataset(images, split, recipe))[0]


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_detector_trains_on_the_stored_pixels_that_were_verified(pipelines, orientation):
    """A viewer shows this photograph, stored 120x60, as 60x120; a box at its right edge is beyond that."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = pipelines / "images" / "7.jpg"
    Image.open(noise(file, 120, 60)).copy().save(file, exif=exif)
    recorded(pipelines, 120, 60)
    assert detection_set("three").count()["annotations"]["train"]["boxes"] == 2
    for split in ("train", "test"):
        inputs = seven(split)["inputs"].numpy()
        assert np.array_equal(inputs[::-1].transpose(1, 2, 0), np.asarray(Image.open(file)))
    boxes = seven()["data_samples"].gt_instances.bboxes.tensor
    assert boxes.tolist() == [[0, 0, 120, 60]]

    recorded(pipelines, 60, 120)
    message = r"7\.jpg.*: is stored as 120x60, but 60x120 is recorded: .*EXIF"
    with pytest.raises(DataError, match=message):
        detection_set("three").count()
    with pytest.raises(DataError, match=message):
        seven()


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "none"])
def test_what_is_not_verified_is_not_trained_on(pipelines, kind):
    file = pipelines / "images" / "7.jpg"
    if kind == "none":
        file.write_bytes(file.read_bytes()[:300])
    else:
        Image.new("RGB", (40, 30)).save(file, kind)
    for reading in (detection_set("three").count, seven):
        with pytest.raises(DataError, match=r"7\.jpg.*: (truncated|cannot be decoded)"):
            reading()


def test_an_image_that_a_worker_cannot_read_is_named_in_one_line(pipelines):
    from torch.utils.data import DataLoader

    (pipelines / "images" / "7.jpg").write_text("none")
    every = build("three", "train", pipeline=[{"type": "ReadPixels"}])
    with pytest.raises(DataError, match=rf"^{pipelines}/images/7\.jpg: truncated, or no JPEG[^\n]*; get it again$"):
        list(DataLoader(every, batch_size=None, num_workers=1))


def test_an_object_without_an_outline_is_named_where_outlines_are_wanted(pipelines):
    outlined = {"type": "OutlinedImages", "name": "three", "split": "train", "pipeline": []}
    content = coco_content()
    content["categories"].reverse()  # MMDetection keeps the file's order
    for one in content["annotations"]:
        one["segmentation"] = [[1, 1, 9, 1, 9, 9]]
    (pipelines / "train.json").write_text(json.dumps(content))
    assert len(mmdet.DATASETS.build(outlined)) == 3
    content["annotations"][1]["segmentation"] = []
    (pipelines / "train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"train\.json: image 7, annotation 2: has no outline .*recipe\.masks"):
        mmdet.DATASETS.build(outlined)
    content["annotations"][1]["bbox"] = [20, 0, 0, 30]  # MMDetection's reader leaves it out without a word
    (pipelines / "train.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"train\.json: image 7, annotation 2: the box .* has no area"):
        mmdet.DATASETS.build(outlined)
