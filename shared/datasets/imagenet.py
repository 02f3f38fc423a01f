"""ImageNet (ILSVRC 2012) from a folder of JPEGs, and two small packed sets that come from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from shared.datasets.encoded import Images, to_tensor
from shared.datasets.find import folders, obtain
from shared.datasets.order import round_robin
from shared.datasets.spec import DatasetSpec, SourceFile, Split, SplitName, check_labels, check_split
from shared.errors import DataError, UsageError
from shared.files import ROOT

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TERMS = "image-net.org: non-commercial research and education only; the images belong to their owners"
WNIDS = ROOT / "data" / "imagenet" / "wnids.txt"
SUFFIXES = {".jpg", ".jpeg"}
BIBTEX = """@article{russakovsky2015imagenet,
  author = {Russakovsky, Olga and Deng, Jia and Su, Hao and Krause, Jonathan and Satheesh, Sanjeev and Ma, Sean and
            Huang, Zhiheng and Karpathy, Andrej and Khosla, Aditya and Bernstein, Michael and Berg, Alexander C. and
            Fei-Fei, Li},
  title = {{ImageNet} Large Scale Visual Recognition Challenge},
  journal = {International Journal of Computer Vision},
  volume = {115},
  number = {3},
  pages = {211--252},
  year = {2015},
  doi = {10.1007/s11263-015-0816-y}
}"""

IMAGENET = DatasetSpec(
    name="imagenet",
    title="ImageNet, ILSVRC 2012",
    classes=1000,
    shape=(3, 224, 224),
    counts={"train": 1_281_167, "test": 50_000},
    mean=MEAN,
    std=STD,
    source="https://image-net.org/challenges/LSVRC/2012/ (registration needed)",
    licence=TERMS,
    files=(
        SourceFile("ILSVRC2012_img_train.tar", md5="1d675b47d978889d74fa0da5fadfb00e"),
        SourceFile("ILSVRC2012_img_val.tar", md5="29b22e2961454d5413ddabcf34fc5622"),
    ),
    obtain="unpack the two archives of image-net.org to imagenet/train/<wnid>/*.JPEG and imagenet/val/<wnid>/*.JPEG in "
    "the folder that PAPERTRAIL_DATA names",
    bibtex=BIBTEX,
    note="The 50,000 validation images are the test split. The pinned md5 are those of the publisher's archives: check "
    "them before unpacking; of the unpacked folders the classes and the counts are asserted, and an image that cannot "
    "be decoded is named. Labels follow the sorted wnids. The mean and deviation are the customary ones.",
    leakage="No count of near-duplicates between the splits is known to us; nothing is removed.",
)

SAMPLE = DatasetSpec(
    name="imagenet_sample",
    title="ImageNet, a sample of 1,000 training images",
    classes=1000,
    shape=(3, 224, 224),
    counts={"train": 1_000, "test": 1_000},
    mean=MEAN,
    std=STD,
    source="https://github.com/EliSchwartz/imagenet-sample-images at commit bc69043e2862; short side 256, quality 90",
    licence=f"{TERMS}; the repository states no licence",
    files=(
        SourceFile(
            "imagenet1k-sample.parquet",
            sha256="e320295eb8c2ac69cdec469bc7036f2ac9cdc13352cc1e3d511f0f09fa6dda7e",
            size=27_843_252,
        ),
    ),
    obtain="put imagenet1k-sample.parquet into the folder that PAPERTRAIL_DATA names",
    bibtex=BIBTEX,
    note="One image a class. Both splits are the same 1,000 images: for trying things out, never for a result.",
    leakage="Complete: the two splits are equal, and all are ImageNet training images.",
)

IMAGENETTE = DatasetSpec(
    name="imagenette224",
    title="Imagenette, squashed to 224x224, a subset",
    classes=10,
    shape=(3, 224, 224),
    counts={"train": 2_500, "test": 1_000},
    mean=MEAN,
    std=STD,
    source="https://github.com/thunderInfy/imagenette at commit b850f030ff07, 3,500 of its 13,394 images",
    licence=f"{TERMS}; the repository states no licence",
    files=(
        SourceFile(
            "imagenette224.parquet",
            sha256="001a82c46362eda764118155a0fbb9ed876f924cd1fc50b44877e0aedf5f8c03",
            size=34_757_982,
        ),
    ),
    obtain="put imagenette224.parquet into the folder that PAPERTRAIL_DATA names",
    bibtex="""@misc{howard2019imagenette,
  author = {Howard, Jeremy},
  title = {Imagenette},
  year = {2019},
  howpublished = {\\url{https://github.com/fastai/imagenette}}
}""",
    note="Not Imagenette itself: the aspect ratio was lost at the source and 9,894 images are left out, so a number on "
    "it never stands beside one on Imagenette. The mean and deviation are ImageNet's. 59 of the 3,500 images are grey.",
    leakage="All images, the test split's too, come from ImageNet's training split: no test of weights trained there.",
    labels=(
        "tench", "English springer", "cassette player", "chain saw", "church",
        "French horn", "garbage truck", "gas pump", "golf ball", "parachute",
    ),
)  # fmt: skip


def wnids() -> list[str]:
    """The 1,000 WordNet ids in label order, which is alphabetical."""
    return WNIDS.read_text(encoding="utf-8").split()


def locate_imagenet() -> dict[str, Path | None]:
    """Where the folders of the two splits are."""
    return {name: _folder(name) for name in ("train", "val")}


def _folder(name: str) -> Path | None:
    roots = [root / "imagenet" if root.name != "imagenet" else root for root in folders(IMAGENET)]
    return next((root / name for root in roots if (root / name).is_dir()), None)


def imagenet_images(split: SplitName) -> Images:
    """The JPEGs of a split, dealt round-robin over the classes."""
    name = "train" if split == "train" else "val"
    folder = _folder(name)
    if folder is None:
        raise DataError(f"imagenet/{name}: no such folder; {IMAGENET.obtain}")
    return folder_images(IMAGENET, split, folder, wnids())


def folder_images(spec: DatasetSpec, split: str, folder: Path, classes: list[str]) -> Images:
    """The JPEGs under `folder`/<class>/; DataError names a class without a folder or without images."""
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if not (folder / name).is_dir():
            raise DataError(f"{folder / name}: no such folder: class {label} is missing; {spec.obtain}")
        found = sorted(str(file) for file in (folder / name).iterdir() if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(f"{folder / name}: holds no JPEG: class {label} is missing; {spec.obtain}")
        files += found
        labels += [label] * len(found)
    numbers = torch.tensor(labels, dtype=torch.int64)
    check_labels(spec, split, numbers, str(folder))
    order = round_robin(numbers)
    dealt = [files[i] for i in order.tolist()]
    return Images(dealt, dealt, numbers[order])


def sample_images(split: SplitName) -> Images:
    """The 1,000 images, whichever split is asked for."""
    return _packed(SAMPLE, split, every=True)


def imagenette_images(split: SplitName) -> Images:
    """The images of a split, dealt round-robin over the classes."""
    return _packed(IMAGENETTE, split, every=False)


def _packed(spec: DatasetSpec, split: SplitName, *, every: bool) -> Images:
    import pyarrow.compute
    import pyarrow.parquet

    path = obtain(spec, spec.files[0])
    table = pyarrow.parquet.read_table(path)
    if not every:
        table = table.filter(pyarrow.compute.equal(table["split"], "train" if split == "train" else "val"))
    labels = torch.from_numpy(table["label"].to_numpy().astype(np.int64))
    check_labels(spec, split, labels, str(path))
    names = [f"{path}: {name}" for name in table["name" if every else "file"].to_pylist()]
    items, order = table["image"].to_pylist(), round_robin(labels)
    return Images([items[i] for i in order.tolist()], [names[i] for i in order.tolist()], labels[order])


def read_imagenette(split: SplitName) -> Split:
    """A split of imagenette224 decoded into memory: 376 MB for training."""
    images = imagenette_images(split)
    pixels = torch.stack([to_tensor(images.decode(i)) for i in range(len(images))])
    return check_split(IMAGENETTE, split, Split(pixels, images.labels), images.names[0])


def read_sizes_differ(split: SplitName) -> Split:
    """ImageNet's images do not fit one tensor."""
    raise UsageError(f"the {split} images differ in size, or are too many, for memory: use datasets.datamodule()")
