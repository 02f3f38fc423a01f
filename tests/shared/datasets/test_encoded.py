import math

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shared.datasets.augment import EvalSpec, ResizedCropSpec
from shared.datasets.encoded import crop_box, resize_and_centre

CROP = ResizedCropSpec(size=224)


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 10**6), st.integers(0, 300))
def test_a_crop_lies_inside_its_image(width, height, number, epoch):
    left, top, right, bottom = crop_box(width, height, number, CROP, seed=0, epoch=epoch)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_areas_and_aspects_follow_the_recipe():
    boxes = [crop_box(400, 400, number, CROP, seed=0, epoch=0) for number in range(4000)]
    areas = [(right - left) * (bottom - top) / 400**2 for left, top, right, bottom in boxes]
    aspects = [math.log((right - left) / (bottom - top)) for left, top, right, bottom in boxes]
    assert min(areas) > 0.078 and max(areas) <= 1
    assert max(map(abs, aspects)) < math.log(4 / 3) + 0.02
    assert abs(sum(aspects) / 4000) < 0.01  # wide and tall alike
    small = sum(area < 0.31 for area in areas) / 4000
    assert abs(small - 0.25) < 0.04  # a quarter of 0.08..1, a little more as large crops are drawn again


def test_an_image_too_narrow_for_any_draw_gives_its_centre():
    box = crop_box(1000, 3, 0, ResizedCropSpec(size=8, scale=(0.9, 1.0)), seed=0, epoch=0)
    assert box == (498, 0, 502, 3)


@given(st.integers(1, 400), st.integers(1, 400))
def test_the_central_view_has_the_size_that_was_asked_for(width, height):
    assert resize_and_centre(Image.new("RGB", (width, height)), EvalSpec(resize=32, crop=28), "bicubic").size == (
        28,
        28,
    )
