import pytest

from shared.detection.sets import detection_set

mmdet = pytest.importorskip("mmdet.registry")


def build(name, split, **options):
    return mmdet.DATASETS.build(detection_set(name).mmdet(split) | {"pipeline": []} | options)


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
    import dataclasses

    from shared.datasets import find
    from shared.detection import sets
    from shared.detection.detection_set import DetectionSplit
    from tests.shared.detection.made import CLASSES, write_coco

    write_coco(tmp_path / "three")
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path))
    spec = dataclasses.replace(sets.COCO.spec, name="three", labels=CLASSES, classes=2, counts={"train": 3, "test": 3})
    split = DetectionSplit(("three/train.json",), "three/images")
    known = dataclasses.replace(sets.COCO, spec=spec, marker="three", splits={"train": split, "test": split})
    monkeypatch.setitem(sets.SETS, "three", known)

    every = build("three", "train", filter_cfg=None)
    assert [every.get_data_info(position)["img_id"] for position in range(len(every))] == [7, 3, 5]
    assert [one["ignore_flag"] for one in every.get_data_info(1)["instances"]] == [1]
    assert len(build("three", "train", filter_cfg={"filter_empty_gt": True})) == 1  # neither nothing nor a mere crowd
    assert len(build("three", "test", filter_cfg={"filter_empty_gt": True}, test_mode=True)) == 3
