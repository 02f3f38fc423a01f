"""The adder ResNet-20 for CIFAR-10 that the authors of AdderNet published, under our names."""

from __future__ import annotations

import re
import sys

from torch import Tensor

from shared.weights.names import under_our_names
from shared.weights.published import Published, write_record

PUBLISHED = {
    "AdderNet ResNet-20": Published(
        source="https://github.com/huawei-noah/AdderNet",  # models/ResNet20-AdderNet.pth at d94dc43, gone since
        file="addernet-resnet20-fe3ad7c1.pth",
        sha256="fe3ad7c15573d34cddd9b3ec2eed12d9c2c818e59cd7d0797a954d6f76ea375b",
        licence="BSD-3-Clause",
        says="92.02",
        paper="adder_detection",
        model="adder_resnet20",
        args={},
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    )
}

WHOLE = {"conv1": "stem.0", "bn1": "stem.1", "fc": "classifier.0", "bn2": "classifier.1"}
PARTS = {"conv1": "body.0.0", "bn1": "body.0.1", "conv2": "body.1.0", "bn2": "body.1.1"}
PARTS |= {"downsample.0": "shortcut.0", "downsample.1": "shortcut.1"}
BLOCK = re.compile(r"layer([123])\.(\d+)\.(conv[12]|bn[12]|downsample\.[01])\.(\w+)")


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of `papers.adder_detection.model.adder_resnet20` from the published one.

    Their classifier is a convolution of one place, ours a linear layer.

    Raises:
        PapertrailError: a tensor has a name that these weights do not have, or the place of another tensor.
    """
    renamed = under_our_names(state, _renamed, "the published AdderNet")
    last = "classifier.0.weight"
    return renamed | ({last: renamed[last].flatten(1)} if last in renamed else {})


def _renamed(name: str) -> str:
    """LookupError: there is no such name."""
    if found := BLOCK.fullmatch(name):
        stage, place, layer, kind = found.groups()
        return f"stages.{int(stage) - 1}.{place}.{PARTS[layer]}.{'weight' if kind == 'adder' else kind}"
    layer, _, kind = name.rpartition(".")
    return f"{WHOLE[layer]}.{kind}"


if __name__ == "__main__":
    sys.exit(write_record(PUBLISHED, __file__))
