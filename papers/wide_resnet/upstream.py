"""Weights that others published, under our names: wide ResNets for CIFAR, and torchvision's and timm's for ImageNet.

`python -m papers.wide_resnet.upstream` looks for two networks of github karanchahal/distiller in the folder `weights`
that PAPERTRAIL_DATA holds, evaluates them on the test images of CIFAR-10, and writes upstream.json.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from shared import datasets
from shared.builders import build
from shared.checkpoints.convert import convert
from shared.datasets.augment import normalise, to_unit
from shared.datasets.find import data_root
from shared.errors import DataError, exit_status
from shared.files import sha256_file, write_json
from shared.weights.names import under_our_names
from shared.weights.storage import fill, load_weights

SOURCE = "https://github.com/karanchahal/distiller"
# By the depth, at a width of 1: the file, and its SHA-256.
FILES = {
    16: ("cifar10-wrn16-1-2c477e7d.pth", "2c477e7dbee9f52e924fd4b6636a94ba21a80fbb4df56cd9d21672933e30f05b"),
    28: ("cifar10-wrn28-1-b2c672dc.pth", "b2c672dca3a74407878c2269e29dc9fe3b1bebd541edaaf31f59ecc7eb12e52a"),
}
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # what these networks were trained with
DATA, BATCH = "cifar10", 250
OUT = Path(__file__).with_name("upstream.json")

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


def published(depth: int, folder: Path) -> nn.Module:
    """A published WRN-`depth`-1 in evaluation mode; DataError when its file is missing or not the pinned one."""
    name, sha256 = FILES[depth]
    source, args = folder / name, {"depth": depth, "width": 1}
    if not source.is_file() or sha256_file(source) != sha256:
        raise DataError(f"{source}: missing, or not the file of sha256 {sha256}; download it from {SOURCE}")
    with tempfile.TemporaryDirectory() as scratch:
        converted = Path(scratch) / "weights.safetensors"
        convert("wide_resnet", source, "wrn", args, 10, converted)
        network = build("wide_resnet", "wrn", args, 10)
        fill(network, load_weights(converted, None), source)
    return network.eval()


def accuracy(network: nn.Module) -> float:
    """Top-1 accuracy on the test images of CIFAR-10, normalised as these networks know it, in percent."""
    test = datasets.opened(DATA).read("test")
    right = 0
    with torch.inference_mode():
        for images, labels in zip(test.images.split(BATCH), test.labels.split(BATCH), strict=True):
            right += int((network(normalise(to_unit(images), MEAN, STD)).argmax(1) == labels).sum())
    return round(100 * right / len(test), 2)


def evaluate() -> dict[str, dict[str, str | float]]:
    """The accuracy of both published networks."""
    root = data_root()
    if root is None:
        raise DataError("PAPERTRAIL_DATA is not set; it names the folder that holds `weights`")
    return {
        f"WRN-{depth}-1": {"sha256": sha256, "top1": accuracy(published(depth, root / "weights"))}
        for depth, (_, sha256) in FILES.items()
    }


def main() -> int:
    """Evaluate and write upstream.json; the exit status: 0, or 1 when data or weights are missing or damaged."""
    return exit_status(lambda: write_json(OUT, evaluate()))


if __name__ == "__main__":
    sys.exit(main())
