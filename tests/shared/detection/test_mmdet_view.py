from __future__ import annotations

import pytest
import yaml

from shared.datasets import catalogue, find
from shared.detection.boxes import detection_set
from shared.files import ROOT
from tests.shared.detection.made import CLASSES, write_coco

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


def test_images_without_a_box_that_counts_are_left_out_of_training_only(monkeypatch, tmp_path):
    write_coco(tmp_path / "three")
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path))
    content = yaml.safe_load((ROOT / "data" / "coco" / "set.yaml").read_text(encoding="utf-8"))
    split = {"annotations": ["three/train.json"], "images": "three/images"}
    boxes = {"layout": "coco", "root": "three", "splits": {"train": split, "test": split}}
    content |= {"labels": list(CLASSES), "classes": 2, "counts": {"train": 3, "test": 3}, "boxes": boxes}
    (tmp_path / "three" / "set.yaml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(catalogue, "FOLDER", tmp_path)

    every = build("three", "train", filter_cfg=None)
    assert [every.get_data_info(position)["img_id"] for position in range(len(every))] == [7, 3, 5]
    assert [one["ignore_flag"] for one in every.get_data_info(1)["instances"]] == [1]
    assert len(build("three", "train", filter_cfg={"filter_empty_gt": True})) == 1  # neither nothing nor a mere crowd
    assert len(build("three", "test", filter_cfg={"filter_empty_gt": True}, test_mode=True)) == 3
