"""Weights that others published, under our names: wide ResNets for CIFAR, and torchvision's and timm's for ImageNet."""

from __future__ import annotations

import re
import sys

from torch import Tensor

from shared.weights.names import under_our_names
from shared.weights.published import Published, write_record

SOURCE = "https://github.com/karanchahal/distiller"


def _published(depth: int, file: str, sha256: str, says: str) -> Published:
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    return Published(SOURCE, file, sha256, None, says, "wide_resnet", "wrn", {"depth": depth, "width": 1}, mean, std)


PUBLISHED = {
    "WRN-16-1": _published(
        16, "cifar10-wrn16-1-2c477e7d.pth", "2c477e7dbee9f52e924fd4b6636a94ba21a80fbb4df56cd9d21672933e30f05b", "91.75"
    ),
    "WRN-28-1": _published(
        28, "cifar10-wrn28-1-b2c672dc.pth", "b2c672dca3a74407878c2269e29dc9fe3b1bebd541edaaf31f59ecc7eb12e52a", "92.89"
    ),
}

# For CIFAR: group (or `block` elsewhere), place in it, layer; and what stands outside the groups.
SMALL = re.compile(r"(?:layer|block)([123])\.layer\.(\d+)\.(bn1|conv1|bn2|conv2|convShortcut)\.(\w+)")
PLACES = {"bn1": "act.0", "conv1": "body.0", "bn2": "body.1", "conv2": "body.3", "convShortcut": "shortcut"}
WHOLE = {"conv1": "stem", "bn1": "act.0", "linear": "classifier", "fc": "classifier"}
# For ImageNet.
LARGE = re.compile(r"layer([1234])\.(\d+)\.(?:(conv|bn)([123])|downsample\.([01]))\.(\w+)")
WHOLE_LARGE = {"conv1": "stem.0", "bn1": "stem.1", "fc": "classifier"}


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of our network from a published one; the names tell which of the two kinds it is.

    Raises:
        PapertrailError: a tensor has a name that no such network has, or the place of another tensor.
    """
    large = "layer4.0.conv1.weight" in state
    return under_our_names(state, _large if large else _small, "a published wide ResNet")


def _small(name: str) -> str:
    """LookupError: there is no such name."""
    if found := SMALL.fullmatch(name):
        group, place, layer, kind = found.groups()
        return f"groups.{int(group) - 1}.{place}.{PLACES[layer]}.{kind}"
    layer, _, kind = name.rpartition(".")
    return f"{WHOLE[layer]}.{kind}"


def _large(name: str) -> str:
    """LookupError: there is no such name."""
    if found := LARGE.fullmatch(name):
        stage, place, layer, number, downsample, kind = found.groups()
        block = f"stages.{int(stage) - 1}.{place}"
        if layer is None:
            return f"{block}.shortcut.{downsample}.{kind}"
        return f"{block}.body.{int(number) - 1}.{'0' if layer == 'conv' else '1'}.{kind}"
    layer, _, kind = name.rpartition(".")
    return f"{WHOLE_LARGE[layer]}.{kind}"


if __name__ == "__main__":
    sys.exit(write_record(PUBLISHED, __file__))
