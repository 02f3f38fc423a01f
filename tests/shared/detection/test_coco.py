import pytest

from shared.detection import coco
from shared.errors import DataError
from tests.shared.detection.made import CLASSES, REMEDY, coco_content, write_coco


def read(folder, content=None, **options):
    file, images = write_coco(folder, content)
    return coco.read(file, images, CLASSES, REMEDY, **options)


def test_images_boxes_labels_and_crowds(tmp_path):
    seven, three, five = read(tmp_path)
    assert (seven.id, seven.width, seven.height, seven.file) == (7, 40, 30, tmp_path / "images" / "7.jpg")
    assert seven.boxes.tolist() == [[1.5, 2, 11.5, 22], [20, 0, 40, 30], [5, 5, 11, 11]]
    assert seven.labels.tolist() == [0, 1, 0]  # the order of CLASSES, not of the numbers
    assert seven.ignored.tolist() == [False, False, False]
    assert three.ignored.tolist() == [True]
    assert five.boxes.shape == (0, 4) and five.labels.shape == (0,)  # an image without a box is none


def test_category_numbers_follow_the_classes(tmp_path):
    file, _ = write_coco(tmp_path)
    assert coco.category_numbers(file, CLASSES, REMEDY) == [20, 10]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json: no such annotation file; get it again"):
        coco.read(tmp_path / "nowhere.json", tmp_path, CLASSES, REMEDY)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "train.json").mkdir()
    with pytest.raises(DataError, match=r"train\.json: cannot be read \(Is a directory\); get it again"):
        coco.read(tmp_path / "train.json", tmp_path, CLASSES, REMEDY)


def test_a_mark_of_the_byte_order_is_skipped(tmp_path):
    file, images = write_coco(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(coco.read(file, images, CLASSES, REMEDY)) == 3


@pytest.mark.parametrize("text", ["", '{"images": [', "\x00", "[" * 100_000])
def test_a_truncated_file_is_named(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json: truncated or no JSON .*; get it again"):
        coco.read(tmp_path / "train.json", tmp_path, CLASSES, REMEDY)


@pytest.mark.parametrize("text", ["[]", "3", '{"images": {}}', '{"images": [], "annotations": []}'])
def test_another_kind_of_json_is_named(tmp_path, text):
    (tmp_path / "train.json").write_text(text)
    with pytest.raises(DataError, match=r"train\.json: has no list `\w+`: not a COCO annotation file"):
        coco.read(tmp_path / "train.json", tmp_path, CLASSES, REMEDY)


@pytest.mark.parametrize("key, name", [(key, name) for key, names in coco.KEYS.items() for name in names])
def test_an_absent_key_is_named(tmp_path, key, name):
    content = coco_content()
    del content[key][1][name]
    with pytest.raises(DataError, match=rf"train\.json: {key}\[1\] has no `{name}`"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"category_id": 11}, "image 7, annotation 2: category 11 is none of the 2 classes"),
        ({"image_id": 8}, "image 8, annotation 2: no such image"),
        ({"id": 1}, "image 7, annotation 1: the annotation's number is there twice"),
        ({"bbox": [20, 0, 22, 30]}, r"image 7, annotation 2: the box .* is outside its image of 40x30"),
        ({"bbox": [20, 0, 10, 32]}, r"image 7, annotation 2: the box .* is outside"),
        ({"bbox": [-1.5, 0, 10, 10]}, r"image 7, annotation 2: the box .* is outside"),
        ({"bbox": [2, -2, 10, 10]}, r"image 7, annotation 2: the box .* is outside"),
        ({"bbox": [20, 0, 0, 30]}, r"image 7, annotation 2: the box .* has no area"),
        ({"bbox": [20, 0, 5, -1]}, r"image 7, annotation 2: the box .* has no area"),
        ({"bbox": [20, 0, float("nan"), 3]}, r"image 7, annotation 2: bbox \[20, 0, nan, 3\] is not four numbers"),
        ({"bbox": [20, 0, float("inf"), 3]}, r"image 7, annotation 2: bbox \[20, 0, inf, 3\] is not four numbers"),
        ({"bbox": [20, 0, 10**400, 3]}, r"image 7, annotation 2: bbox \[20, 0, 10*, 3\] is not four numbers"),
        ({"bbox": [1e308, 0, 1e308, 3]}, r"image 7, annotation 2: the box .* is not finite"),
        ({"bbox": [20, 0, 3]}, r"image 7, annotation 2: bbox \[20, 0, 3\] is not four numbers"),
        ({"bbox": [20, 0, 3, 3, 1]}, r"image 7, annotation 2: bbox \[20, 0, 3, 3, 1\] is not four numbers"),
        ({"bbox": ["20", "0", "3", "3"]}, r"image 7, annotation 2: bbox \['20', '0', '3', '3'\] is not four numbers"),
        ({"bbox": [True, 0, 3, 3]}, r"image 7, annotation 2: bbox \[True, 0, 3, 3\] is not four numbers"),
        ({"bbox": [[20, 0], [3, 3]]}, r"image 7, annotation 2: bbox .* is not four numbers"),
        ({"bbox": {"1": 1, "2": 2, "3": 3, "4": 4}}, r"image 7, annotation 2: bbox .* is not four numbers"),
        ({"bbox": "1234"}, "image 7, annotation 2: bbox '1234' is not four numbers"),
        ({"bbox": "20 0 3 3"}, "image 7, annotation 2: bbox '20 0 3 3' is not"),
        ({"bbox": None}, "image 7, annotation 2: bbox None is not"),
        ({"area": float("nan")}, "image 7, annotation 2: area nan is no number of pixels"),
        ({"area": -1}, "image 7, annotation 2: area -1 is no number of pixels"),
        ({"area": "600"}, "image 7, annotation 2: area '600' is no number of pixels"),
        ({"area": None}, "image 7, annotation 2: area None is no number of pixels"),
        ({"iscrowd": "0"}, "image 7, annotation 2: iscrowd '0' is neither 0 nor 1"),
        ({"iscrowd": None}, "image 7, annotation 2: iscrowd None is neither 0 nor 1"),
        ({"iscrowd": 2}, "image 7, annotation 2: iscrowd 2 is neither 0 nor 1"),
        ({"id": 0}, "image 7, annotation 0: number annotations from 1"),
        ({"id": "2"}, r"annotations\[1\]: `id` is '2', not a whole number"),
        ({"image_id": "7"}, r"annotations\[1\]: `image_id` is '7', not a whole number"),
        ({"image_id": [7]}, r"annotations\[1\]: `image_id` is \[7\], not a whole number"),
        ({"category_id": 10.0}, r"annotations\[1\]: `category_id` is 10.0, not a whole number"),
        ({"category_id": None}, r"annotations\[1\]: `category_id` is None, not a whole number"),
    ],
)
def test_what_is_wrong_with_an_annotation_is_named(tmp_path, change, message):
    content = coco_content()
    content["annotations"][1] |= change
    with pytest.raises(DataError, match=rf"train\.json: {message}.*; get it again"):
        read(tmp_path, content)


def test_who_says_nothing_of_crowds_has_none(tmp_path):
    content = coco_content()
    del content["annotations"][3]["iscrowd"]
    assert read(tmp_path, content)[1].ignored.tolist() == [False]


def test_a_box_may_touch_the_rim(tmp_path):
    content = coco_content()
    content["annotations"][1]["bbox"] = [-0.5, 0, 41, 30.9]
    assert read(tmp_path, content)[0].boxes[1].tolist() == [-0.5, 0, 40.5, 30.9]


@pytest.mark.parametrize(
    "key, position, change, message",
    [
        ("images", 1, {"id": 7}, "image 7 is there twice"),
        ("images", 1, {"width": 0}, "image 3 is 0x30"),
        ("images", 1, {"height": -30}, "image 3 is 40x-30"),
        ("images", 1, {"height": "30"}, r"images\[1\]: `height` is '30', not a whole number"),
        ("images", 1, {"height": float("nan")}, r"images\[1\]: `height` is nan, not a whole number"),
        ("images", 1, {"width": True}, r"images\[1\]: `width` is True, not a whole number"),
        ("images", 1, {"id": {}}, r"images\[1\]: `id` is \{\}, not a whole number"),
        ("images", 1, {"file_name": 3}, r"images\[1\]: `file_name` is 3, not a text"),
        ("categories", 1, {"id": "20"}, r"categories\[1\]: `id` is '20', not a whole number"),
        ("categories", 1, {"name": None}, r"categories\[1\]: `name` is None, not a text"),
        ("categories", 1, {"name": "dog"}, r"category 20 \(dog\) is there twice"),
        ("categories", 1, {"id": 10}, r"category 10 \(cat\) is there twice"),
        ("categories", 1, {"name": "cow"}, "has no category 'cat' among its 2"),
    ],
)
def test_what_is_wrong_with_an_image_or_a_category_is_named(tmp_path, key, position, change, message):
    content = coco_content()
    content[key][position] |= change
    with pytest.raises(DataError, match=rf"train\.json: {message}"):
        read(tmp_path, content)


def test_annotations_known_to_be_flat_are_left_out(tmp_path):
    content = coco_content()
    content["annotations"][1]["bbox"][3] = 0.0
    assert read(tmp_path, content, flat={2})[0].labels.tolist() == [0, 0]


def test_a_split_without_any_box_is_an_error(tmp_path):
    with pytest.raises(DataError, match="none of its 3 images has a box"):
        read(tmp_path, coco_content() | {"annotations": []})
    with pytest.raises(DataError, match="lists no image"):
        read(tmp_path, coco_content() | {"images": [], "annotations": []})
