"""Independent weights: the ResNet-20, -32, -44 and -56 for CIFAR-10 that Yerlan Idelbayev published (akamaster)."""

from __future__ import annotations

import re
import sys

from torch import Tensor

from shared.weights.names import under_our_names, with_batches_counted
from shared.weights.published import Published, write_record

SOURCE = "https://github.com/akamaster/pytorch_resnet_cifar10"


def _published(model: str, file: str, sha256: str, says: str) -> Published:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return Published(SOURCE, file, sha256, "BSD-2-Clause", says, "rethinking_pruning", model, {}, mean, std)


PUBLISHED = {
    "resnet20": _published(
        "resnet20",
        "cifar10-resnet20-12fca82f.th",
        "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
        "91.73",
    ),
    "resnet32": _published(
        "resnet32",
        "cifar10-resnet32-d509ac18.th",
        "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850",
        "92.63",
    ),
    "resnet44": _published(
        "resnet44",
        "cifar10-resnet44-014dd654.th",
        "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4",
        "93.10",
    ),
    "resnet56": _published(
        "resnet56",
        "cifar10-resnet56-4bfd9763.th",
        "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367",
        "93.39",
    ),
}

WHOLE = {"conv1": "stem.0", "bn1": "stem.1", "linear": "classifier"}
PARTS = {"conv1": "conv1.0", "bn1": "conv1.1", "conv2": "conv2.0", "bn2": "conv2.1"}
BLOCK = re.compile(r"layer([123])\.(\d+)\.(\w+)\.(\w+)")


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of `shared.baselines.resnet_cifar.CifarResNet` from the published one.

    Their normalisations do not count batches, ours do: the counts are zero.

    Raises:
        PapertrailError: a tensor has a name that these weights do not have, or the place of another tensor.
    """
    blocks = 1 + max((int(found[2]) for name in state if (found := BLOCK.fullmatch(name))), default=0)
    renamed = under_our_names(state, lambda name: _renamed(name, blocks), f"a published ResNet of {SOURCE}")
    return with_batches_counted(renamed)


def _renamed(name: str, blocks: int) -> str:
    """LookupError: there is no such name."""
    if found := BLOCK.fullmatch(name):
        return f"blocks.{(int(found[1]) - 1) * blocks + int(found[2])}.{PARTS[found[3]]}.{found[4]}"
    layer, _, kind = name.rpartition(".")
    return f"{WHOLE[layer]}.{kind}"


if __name__ == "__main__":
    sys.exit(write_record(PUBLISHED, __file__))
