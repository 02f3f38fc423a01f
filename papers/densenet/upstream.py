"""Published DenseNet weights under our names: those of timm and torchvision, and a DenseNet-BC (100, 12) for CIFAR-10.

The latter has the names of an older PyTorch DenseNet: `block1.layer.0`, `trans1`, `fc`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter

from torch import Tensor

from shared.weights.names import under_our_names, with_batches_counted
from shared.weights.published import Published, write_record

PUBLISHED = {
    "DenseNet-BC-100 (k=12)": Published(
        source="https://github.com/deeplearning-wisc/dice",  # commit 8acfb8d
        file="cifar10-densenet-bc-100-12-deaefd08.pth",
        sha256="deaefd082911a1c6c92aacdcfecf03c71b932acc5c08b779c85c44eccdc0c817",
        licence="MIT",
        says=None,
        paper="densenet",
        model="densenet",
        args={"depth": 100, "growth": 12, "bottleneck": True, "compression": 0.5},
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2023, 0.1994, 0.2010),
    )
}

# torchvision's older files have `norm.1` where the others have `norm1`.
LAYER = re.compile(r"(?:features\.dense)?block(\d+)\.(?:dense)?layer\.?(\d+)\.(norm|bn|conv)\.?([12])\.(\w+)")
TRANSITION = re.compile(r"(?:features\.transition|trans)(\d+)\.(norm|bn|conv)1?\.(\w+)")
WHOLE = {
    "features.conv0": "features.0", "features.norm0": "features.1", "conv1": "features.0",
    "classifier": "classifier", "fc": "classifier",
}  # fmt: skip
LAST = ("features.norm5", "bn1")  # the norm behind the last block
STEM = 4  # modules before the first block for ImageNet: convolution, norm, ReLU and pooling; one for small images
NORM, CONV, TRANSITION_LENGTH = 1, 3, 5  # places in a transition: selection, norm, ReLU, convolution, pooling
BODY = {"norm1": 1, "conv1": 3, "norm2": 4, "conv2": 6}  # places in a layer: selection, norm, ReLU, convolution, ...


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of `papers.densenet.model.DenseNet`, one that cannot be pruned, from theirs.

    Norms that do not count batches, in older files, have counted none.

    Raises:
        PapertrailError: a tensor has a name that none of these networks has, or the place of another tensor.
    """
    layers = Counter(block for block, _ in {found.group(1, 2) for found in map(LAYER.fullmatch, state) if found})
    start = {1: STEM if "features.norm0.weight" in state else 1}
    for block in range(1, len(layers) + 1):
        start[block + 1] = start[block] + layers[str(block)] + TRANSITION_LENGTH
    renamed = under_our_names(state, lambda name: _renamed(name, start), "a published DenseNet")
    return with_batches_counted(renamed)


def _renamed(name: str, start: dict[int, int]) -> str:
    """LookupError: there is no such name. `start` has the place of each block's first layer, and of one more block."""
    if found := LAYER.fullmatch(name):
        block, number, part, which, kind = found.groups()
        place = start[int(block)] + int(number) - name.startswith("features.")  # theirs count layers from 1
        return f"features.{place}.body.{BODY[part.replace('bn', 'norm') + which]}.{kind}"
    if found := TRANSITION.fullmatch(name):
        place = start[int(found[1]) + 1] - TRANSITION_LENGTH + (CONV if found[2] == "conv" else NORM)
        return f"features.{place}.{found[3]}"
    layer, _, kind = name.rpartition(".")
    if layer in LAST:
        return f"features.{start[len(start)] - TRANSITION_LENGTH + NORM}.{kind}"
    return f"{WHOLE[layer]}.{kind}"


if __name__ == "__main__":
    sys.exit(write_record(PUBLISHED, __file__))
