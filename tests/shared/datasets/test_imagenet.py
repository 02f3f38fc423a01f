from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared import datasets
from shared.datasets import imagenet
from shared.datasets.augment import Augment
from shared.datasets.streamed import EncodedImages
from shared.errors import DataError, UsageError
from tests.shared.datasets.made import jpeg, write_folder


def image_folder(root: Path, classes: int, each: int) -> list[str]:
    names = [f"n{number:08d}" for number in range(classes)]
    write_folder(root, {f"{name}/{i}.JPEG": jpeg(i, (40 + i, 30)) for name in names for i in range(each)})
    return names


def small_spec(classes: int, each: int):
    counts = {"train": classes * each, "test": classes * each}
    return datasets.spec("imagenet").model_copy(update={"classes": classes, "counts": counts})


def folder_module(root: Path, names: list[str], each: int, **options) -> EncodedImages:
    spec = small_spec(len(names), each)
    augment = Augment.model_validate(
        {"random_resized_crop": {"size": 16}, "eval": {"resize": 20, "crop": 16}, "flip": True}
    )
    settings = {"batch_size": 4, "augment": augment, "seed": 0, **options}
    data = EncodedImages(spec, lambda split: imagenet.folder_images(spec, split, root, names), **settings)
    data.setup()
    return data


def test_a_folder_of_jpegs_is_dealt_round_robin(tmp_path):
    names = image_folder(tmp_path, 3, 2)
    images = imagenet.folder_images(small_spec(3, 2), "train", tmp_path, names)
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert images.items[4] == str(tmp_path / names[1] / "1.JPEG")


def test_a_missing_or_empty_class_folder_is_named(tmp_path):
    names = image_folder(tmp_path, 3, 1)
    with pytest.raises(DataError, match=r"n99999999: no such folder: class 3 is missing"):
        imagenet.folder_images(small_spec(4, 1), "train", tmp_path, [*names, "n99999999"])
    (tmp_path / names[2] / "0.JPEG").unlink()
    with pytest.raises(DataError, match=rf"{names[2]}: holds no JPEG"):
        imagenet.folder_images(small_spec(3, 1), "train", tmp_path, names)


def test_random_crops_are_a_function_of_the_sample_whatever_the_workers(tmp_path):
    names = image_folder(tmp_path, 3, 4)
    alone = list(folder_module(tmp_path, names, 4).train_dataloader())
    helped = list(folder_module(tmp_path, names, 4, workers=1).train_dataloader())
    for ours, theirs in zip(alone, helped, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        assert ours[0].shape == (4, 3, 16, 16) and ours[0].dtype == torch.uint8
    large = {int(i): image for images, _, index in alone for i, image in zip(index, images, strict=True)}
    for images, _, index in folder_module(tmp_path, names, 4, batch_size=6).train_dataloader():
        assert all(torch.equal(large[int(i)], image) for i, image in zip(index, images, strict=True))


def test_evaluation_takes_the_centre(tmp_path):
    names = image_folder(tmp_path, 2, 1)
    images, labels, _ = next(iter(folder_module(tmp_path, names, 1).val_dataloader()))
    image = Image.open(tmp_path / names[0] / "0.JPEG").resize((26, 20), Image.Resampling.BILINEAR).crop((5, 2, 21, 18))
    assert np.array_equal(images[0].permute(1, 2, 0).numpy(), np.asarray(image)) and labels.tolist() == [0, 1]


def test_a_jpeg_that_cannot_be_decoded_is_named(tmp_path):
    names = image_folder(tmp_path, 2, 2)
    bad = tmp_path / names[1] / "1.JPEG"
    bad.write_bytes(bad.read_bytes()[:300])
    for workers in (0, 1):
        with pytest.raises(DataError, match=rf"^{bad}: cannot be decoded"):
            list(folder_module(tmp_path, names, 2, workers=workers).train_dataloader())


def test_images_of_many_sizes_need_a_crop():
    with pytest.raises(UsageError, match="random_resized_crop and eval"):
        EncodedImages(small_spec(2, 1), lambda split: None, batch_size=4, augment=Augment(), seed=0)


def test_imagenet_that_is_absent_says_how_to_get_it(elsewhere):
    with pytest.raises(DataError, match=r"imagenet/train: no such folder; unpack .* PAPERTRAIL_DATA"):
        datasets.prepare("imagenet")


def test_the_wnids_are_a_thousand_sorted_names():
    names = imagenet.wnids()
    assert len(set(names)) == 1000 and names == sorted(names)
    assert names[0] == "n01440764" and names[999] == "n15075141"
