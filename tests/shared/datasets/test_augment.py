import numpy as np
import pytest
import torch

from shared import datasets
from shared.datasets import augment as ops
from shared.datasets import rng
from shared.datasets.augment import Augment, ColorJitterSpec, EraseSpec
from shared.errors import PapertrailError
from shared.schema import validated


def some_images(count: int = 24, channels: int = 3, height: int = 9, width: int = 11) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, channels, height, width), dtype=torch.uint8, generator=generator)


def crop_and_flip_by_loop(images, index, pad, flip, seed, epoch, reflect=False):
    """The obvious way: one image at a time, on a larger canvas of zeros, or of the image mirrored at its edges."""
    height, width = images.shape[2:]
    result = []
    for image, number in zip(images, index, strict=True):
        down, right = (rng.uniform(seed, epoch, number[None], 2, rng.CROP)[0] * (2 * pad + 1)).long().tolist()
        canvas = torch.zeros(images.shape[1], height + 2 * pad, width + 2 * pad, dtype=images.dtype)
        canvas[:, pad : pad + height, pad : pad + width] = image
        if reflect:
            around = ((0, 0), (pad, pad), (pad, pad))
            canvas = torch.from_numpy(np.pad(image.numpy(), around, mode="reflect"))
        view = canvas[:, down : down + height, right : right + width]
        if flip and rng.uniform(seed, epoch, number[None], 1, rng.FLIP)[0, 0] < 0.5:
            view = view.flip(2)
        result.append(view)
    return torch.stack(result)


@pytest.mark.parametrize("pad", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("reflect", [False, True])
def test_pad_crop_flip_equals_the_loop(pad, flip, channels, reflect):
    images, index = some_images(channels=channels), torch.arange(100, 124)
    ours = ops.pad_crop_flip(images, index, pad=pad, flip=flip, seed=3, epoch=2, reflect=reflect)
    assert torch.equal(ours, crop_and_flip_by_loop(images, index, pad, flip, 3, 2, reflect))


def test_every_offset_is_used_and_half_of_the_images_are_mirrored():
    marked = torch.zeros(5000, 1, 5, 5, dtype=torch.uint8)
    marked[:, 0, 2, 2] = 1
    moved = ops.pad_crop_flip(marked, torch.arange(5000), pad=2, flip=False, seed=0, epoch=0)
    places = moved.flatten(1).argmax(1)
    assert torch.bincount(places, minlength=25).min() > 130  # 200 expected, standard deviation 14
    ramp = torch.arange(4, dtype=torch.uint8).expand(5000, 1, 4, 4)
    mirrored = ops.pad_crop_flip(ramp, torch.arange(5000), pad=0, flip=True, seed=0, epoch=0)[:, 0, 0, 0] == 3
    assert abs(float(mirrored.float().mean()) - 0.5) < 0.03


def test_an_image_is_augmented_alike_in_any_batch_and_differently_in_the_next_epoch():
    images, index = some_images(), torch.arange(24)
    options = {"pad": 3, "flip": True, "seed": 1}
    whole = ops.pad_crop_flip(images, index, epoch=0, **options)
    shuffled = torch.randperm(24)
    assert torch.equal(whole[shuffled], ops.pad_crop_flip(images[shuffled], index[shuffled], epoch=0, **options))
    assert not torch.equal(whole, ops.pad_crop_flip(images, index, epoch=1, **options))


def test_cutout_zeroes_one_clipped_square():
    images = torch.ones(3000, 2, 16, 16)
    out = ops.cutout(images, torch.arange(3000), size=8, seed=0, epoch=0)
    assert torch.equal(out[:, 0], out[:, 1])
    hole = out[:, 0] == 0
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.flatten(1).sum(1), rows * columns)  # a full rectangle
    assert int(rows.min()) == 4 and int(rows.max()) == 8 and int(columns.min()) == 4 and int(columns.max()) == 8
    # Starts -4..11: of the 8 rows 4, 5, 6, 7 are inside at the top, 7, 6, 5 at the bottom, 8 at nine places: 112 / 16.
    assert abs(float(rows.float().mean()) - 7) < 0.1 and abs(float(columns.float().mean()) - 7) < 0.1


def test_cutout_leaves_its_argument_alone():
    images = torch.ones(4, 1, 8, 8)
    ops.cutout(images, torch.arange(4), size=4, seed=0, epoch=0)
    assert bool((images == 1).all())


def test_normalise_gives_zero_mean_and_unit_deviation():
    images = some_images(count=50)
    unit = ops.to_unit(images)
    assert float(unit.max()) <= 1
    mean = tuple(unit.mean((0, 2, 3)).tolist())
    std = tuple(unit.std((0, 2, 3), unbiased=False).tolist())
    out = ops.normalise(unit, mean, std)
    assert torch.allclose(out.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(out.std((0, 2, 3), unbiased=False), torch.ones(3), atol=1e-5)


def test_colour_jitter_of_no_width_changes_nothing_and_of_brightness_scales():
    unit = ops.to_unit(some_images()) / 2
    index = torch.arange(24)
    still = ops.color_jitter(unit, index, jitter=ColorJitterSpec(), seed=0, epoch=0)
    assert torch.allclose(still, unit, atol=1e-6)
    brighter = ops.color_jitter(unit, index, jitter=ColorJitterSpec(brightness=0.5), seed=0, epoch=0)
    factors = (brighter / unit).flatten(1)
    assert float((factors.amax(1) - factors.amin(1)).max()) < 1e-4  # one factor for each image
    assert 0.5 <= float(factors.min()) < 0.8 and 1.2 < float(factors.max()) <= 1.5


def test_colour_jitter_of_saturation_keeps_the_grey_value():
    unit = ops.to_unit(some_images()) / 2 + 0.25
    out = ops.color_jitter(unit, torch.arange(24), jitter=ColorJitterSpec(saturation=0.3), seed=0, epoch=0)
    assert not torch.allclose(out, unit, atol=1e-2)
    assert torch.allclose(ops.luma(out), ops.luma(unit), atol=1e-5)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"pad_corp": 4}, "pad_corp"),
        ({"pad_crop": -1}, "pad_crop"),
        ({"flip": "sometimes"}, "flip"),
        ({"randaugment": {"n": 2, "m": 31}}, "randaugment.m"),
        ({"random_resized_crop": {"size": 224, "scale": [0.5, 0.1]}}, "random_resized_crop"),
        ({"random_resized_crop": {"size": 224, "ratio": [0, 1]}}, "random_resized_crop"),
        ({"normalisation": "none"}, "normalisation"),
    ],
)
def test_impossible_settings_are_refused_by_name(values, key):
    with pytest.raises(PapertrailError, match=f"augment: {key}: "):
        validated(Augment, values, "augment")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"padding": "reflect"}, "`padding` belongs to a `pad_crop` above 0"),
        ({"normalisation": "zca", "color_jitter": {"contrast": 0.1}}, "`normalisation: zca` does not leave"),
        ({"normalisation": "unit", "statistics": {"mean": [0], "std": [1]}}, "belong to `normalisation: dataset`"),
        ({"statistics": {"mean": [0, 0, 0], "std": [1]}}, "3 means for 1 deviations"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, named):
    with pytest.raises(PapertrailError, match=named):
        validated(Augment, values, "augment")


@pytest.mark.parametrize(("height", "width"), [(32, 32), (12, 40)])
def test_erasing_takes_one_rectangle_of_the_stated_size_from_the_stated_share(height, width):
    recipe = EraseSpec(probability=0.4, area=(0.1, 0.3), aspect=0.5)
    images, index = torch.ones(2000, 3, height, width), torch.arange(2000)
    out = ops.erase(images, index, recipe=recipe, seed=1, epoch=2)
    hit = (out == 0).flatten(1).any(1)
    assert 0.36 < float(hit.float().mean()) < 0.44
    seen, centres = [], []
    for image in out[hit]:
        assert bool((image == image[0]).all()), "every channel loses the same place"
        rows, columns = (image[0] == 0).nonzero().unbind(1)
        high, wide = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert len(rows) == high * wide, "a rectangle"
        seen.append((high * wide / (height * width), high / wide))
        centres.append(((float(rows.float().mean()) + 0.5) / height, (float(columns.float().mean()) + 0.5) / width))
    areas, aspects = torch.tensor(seen).unbind(1)
    assert 0.07 < float(areas.min()) < 0.13 and 0.25 < float(areas.max()) < 0.34  # sides are whole pixels
    assert 0.4 < float(aspects.min()) < 0.8 and float(aspects.max()) < 2.5
    assert torch.allclose(torch.tensor(centres).mean(0), torch.tensor(0.5), atol=0.02)
    again = ops.erase(images[5:9], index[5:9], recipe=recipe, seed=1, epoch=2)
    assert torch.equal(again, out[5:9]), "alike in any batch"
    assert not torch.equal(ops.erase(images, index, recipe=recipe, seed=1, epoch=3), out)


def test_a_recipe_erases_after_the_normalisation():
    spec = datasets.spec("mnist5k")
    module = datasets.datamodule(
        "mnist5k", batch_size=4, augment=Augment(erase=EraseSpec(probability=1, area=(0.5, 0.5), aspect=1)), seed=0
    )
    images, labels = torch.full((4, *spec.shape), 255, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    out, _ = module.transform((images, labels, torch.arange(4)), training=True)
    assert len(out.unique()) == 2 and 0 in out.unique() and abs(float((out == 0).float().mean()) - 0.5) < 0.03
