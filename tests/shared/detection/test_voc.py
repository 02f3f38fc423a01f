import pytest

from shared.detection import voc
from shared.errors import DataError
from tests.shared.detection.made import CLASSES, REMEDY, voc_object, voc_xml, write_voc

CAT = voc_object("cat", 1, 1, 40, 30)


def read(folder, **annotations):
    return voc.read([write_voc(folder, **annotations)], CLASSES, REMEDY)


def test_images_boxes_labels_and_difficult_objects(tmp_path):
    dog = voc_object("dog", 11, 6, 20, 7, more="<difficult>1</difficult><truncated>1</truncated>")
    first, second = read(tmp_path, b=voc_xml("b", CAT, dog), a=voc_xml("a"))
    assert (first.id, first.width, first.height) == ("b", 40, 30)
    assert first.file == tmp_path / "JPEGImages" / "b.jpg"
    # Corners from 1, both within: the whole image, and 10 x 2 pixels.
    assert first.boxes.tolist() == [[0, 0, 40, 30], [10, 5, 20, 7]]
    assert first.labels.tolist() == [0, 1] and first.ignored.tolist() == [False, True]
    assert second.id == "a" and second.boxes.shape == (0, 4)


def test_a_box_of_one_pixel_has_an_area(tmp_path):
    (image,) = read(tmp_path, a=voc_xml("a", voc_object("cat", 5, 6, 5, 6)))
    assert image.boxes.tolist() == [[4, 5, 5, 6]]


def test_a_part_has_a_box_of_its_own(tmp_path):
    """VOC2012 marks heads and hands of some persons; fractions of pixels occur there too."""
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    (image,) = read(tmp_path, a=voc_xml("a", voc_object("cat", 5.5, 6, 10.25, 20, more=part)))
    assert image.boxes.tolist() == [[4.5, 5, 10.25, 20]]


def test_another_suffix_is_that_of_the_record(tmp_path):
    (image,) = read(tmp_path, a=voc_xml("a", CAT, file="a.png"))
    assert image.file.name == "a.png"


def test_several_lists_follow_one_another(tmp_path):
    lists = [write_voc(tmp_path / year, **{year: voc_xml(year, CAT)}) for year in ("y2012", "y2007")]
    assert [image.id for image in voc.read(lists, CLASSES, REMEDY)] == ["y2012", "y2007"]
    with pytest.raises(DataError, match=r"train\.txt: image y2012 is there twice"):
        voc.read([lists[0], lists[0]], CLASSES, REMEDY)


def test_a_missing_list_is_named(tmp_path):
    with pytest.raises(DataError, match=r"test\.txt: no such list of images; get it again"):
        voc.read([tmp_path / "ImageSets" / "Main" / "test.txt"], CLASSES, REMEDY)


def test_a_list_may_begin_with_a_mark_of_the_byte_order_and_is_text(tmp_path):
    file = write_voc(tmp_path, a=voc_xml("a", CAT))
    file.write_bytes(b"\xef\xbb\xbfa\r\n")
    assert [image.id for image in voc.read([file], CLASSES, REMEDY)] == ["a"]
    file.write_bytes(b"\xff\xfea\x00")
    with pytest.raises(DataError, match=r"train\.txt: is no text in UTF-8 .*; get it again"):
        voc.read([file], CLASSES, REMEDY)


def test_a_missing_annotation_is_named(tmp_path):
    file = write_voc(tmp_path, a=voc_xml("a", CAT))
    (tmp_path / "Annotations" / "a.xml").unlink()
    with pytest.raises(DataError, match=r"a\.xml: no such annotation file, but .*train\.txt lists image a; get it"):
        voc.read([file], CLASSES, REMEDY)


@pytest.mark.parametrize(
    "text", ["", "<annotation><size>", "none", "<?xml version='1.0' encoding='none'?><a/>", "\x00"]
)
def test_a_truncated_annotation_is_named(tmp_path, text):
    with pytest.raises(DataError, match=r"a\.xml: truncated or no XML .*; get it again"):
        read(tmp_path, a=text)


@pytest.mark.parametrize(
    "item, message",
    [
        (voc_object("cow", 1, 1, 5, 5), "its class 'cow' is not one of the 2 known"),
        (voc_object("dog", 1, 1, 42, 5), r"the box .* is outside its image of 40x30"),
        (voc_object("dog", -1, 1, 5, 5), r"the box .* is outside its image"),
        (voc_object("dog", 6, 1, 5, 5), r"the box .* has no area"),
        (voc_object("dog", 1, 9, 5, 2), r"the box .* has no area"),
        (voc_object("dog", 1, 1, "many", 5), "`bndbox/xmax` is 'many', not a number"),
        (voc_object("dog", 1, 1, "inf", 5), r"the box .* is not finite"),
        (voc_object("dog", 1, "nan", 5, 5), r"the box .* is not finite"),
        (voc_object("dog", 1, 1, "", 5), "`bndbox/xmax` is '', not a number"),
        ("<object><bndbox/></object>", "its class '' is not one of the 2 known"),
        ("<object><name>dog</name></object>", "`bndbox/xmin` is None, not a number"),
    ],
)
def test_what_is_wrong_with_an_object_is_named(tmp_path, item, message):
    with pytest.raises(DataError, match=rf"a\.xml: image a, object 1: {message}.*; get it again"):
        read(tmp_path, a=voc_xml("a", CAT, item))


def test_a_record_without_a_size_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.xml: `size/width` is None, not a number"):
        read(tmp_path, a=voc_xml("a", CAT, size=""))


@pytest.mark.parametrize(
    "value, message",
    [
        ("nan", "is nan, not a whole number of pixels"),
        ("inf", "is inf, not a whole number of pixels"),
        ("0", "is 0, not a whole number of pixels"),
        ("-40", "is -40, not a whole number of pixels"),
        ("40.5", "is 40.5, not a whole number of pixels"),
        ("wide", "is 'wide', not a number"),
        ("", "is '', not a number"),
    ],
)
@pytest.mark.parametrize("side", ["width", "height"])
def test_a_size_that_is_none_is_named(tmp_path, side, value, message):
    size = {"width": "40", "height": "30"} | {side: value}
    tags = "".join(f"<{name}>{text}</{name}>" for name, text in size.items())
    with pytest.raises(DataError, match=rf"a\.xml: `size/{side}` {message}; get it again"):
        read(tmp_path, a=voc_xml("a", CAT, size=tags))


def test_a_record_without_a_name_is_about_its_own_image(tmp_path):
    for xml in (voc_xml("a", CAT, file=" "), voc_xml("a", CAT).replace("<filename>a.jpg</filename>", "")):
        (image,) = read(tmp_path, a=xml)
        assert image.file == tmp_path / "JPEGImages" / "a.jpg"


def test_a_record_of_another_image_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.xml: is about b\.jpg, not about image a"):
        read(tmp_path, a=voc_xml("b", CAT))


def test_a_split_without_any_box_is_an_error(tmp_path):
    with pytest.raises(DataError, match="none of its 1 images has a box"):
        read(tmp_path, a=voc_xml("a"))
    with pytest.raises(DataError, match="lists no image"):
        read(tmp_path / "empty")
