"""Independent weights: the ResNet-20, -32, -44 and -56 for CIFAR-10 that Yerlan Idelbayev published (akamaster).

`python -m papers.rethinking_pruning.upstream` looks for them in the folder `weights` that PAPERTRAIL_DATA holds,
evaluates them on the test images of CIFAR-10, and writes upstream.json.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared import datasets
from shared.builders import build
from shared.checkpoints.convert import convert
from shared.datasets.augment import Augment
from shared.datasets.find import data_root
from shared.errors import DataError, exit_status
from shared.files import sha256_file, write_json
from shared.training.accuracy import seen
from shared.weights.names import under_our_names, with_batches_counted
from shared.weights.storage import fill, load_weights

SOURCE = "https://github.com/akamaster/pytorch_resnet_cifar10"
FILES = {
    "resnet20": ("cifar10-resnet20-12fca82f.th", "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8"),
    "resnet32": ("cifar10-resnet32-d509ac18.th", "d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850"),
    "resnet44": ("cifar10-resnet44-014dd654.th", "014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4"),
    "resnet56": ("cifar10-resnet56-4bfd9763.th", "4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367"),
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what these networks were trained with
DATA = "cifar10"
OUT = Path(__file__).with_name("upstream.json")

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


class Renormalised(nn.Module):
    """A network behind a change from one normalisation of the images (mean and deviation of each channel) to another.

    It cannot be folded into the first convolution, whose padding is zero in the network's own units.
    """

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network = network
        theirs, deviation = torch.tensor(MEAN), torch.tensor(STD)
        self.register_buffer("scale", (torch.tensor(std) / deviation).view(-1, 1, 1))
        self.register_buffer("shift", ((torch.tensor(mean) - theirs) / deviation).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images (N, 3, H, W) that are normalised by the given mean and deviation."""
        scale, shift = self.get_buffer("scale"), self.get_buffer("shift")
        logits: Tensor = self.network(images * scale + shift)
        return logits


def published(model: str, folder: Path) -> nn.Module:
    """A published network in evaluation mode; DataError when its file is missing or not the pinned one."""
    name, sha256 = FILES[model]
    source = folder / name
    if not source.is_file() or sha256_file(source) != sha256:
        raise DataError(f"{source}: missing, or not the file of sha256 {sha256}; download it from {SOURCE}")
    with tempfile.TemporaryDirectory() as scratch:
        converted = Path(scratch) / "weights.safetensors"
        convert("rethinking_pruning", source, model, {}, 10, converted)
        network = build("rethinking_pruning", model, {}, 10)
        fill(network, load_weights(converted, None), source)
    return network.eval()


def evaluate() -> dict[str, dict[str, Any]]:
    """The accuracy of every published network on the test images, in percent."""
    root = data_root()
    if root is None:
        raise DataError("PAPERTRAIL_DATA is not set; it names the folder that holds `weights`")
    spec = datasets.spec(DATA)
    found: dict[str, dict[str, Any]] = {}
    for model, (_, sha256) in FILES.items():
        network = Renormalised(published(model, root / "weights"), spec.mean, spec.std)
        found[model] = {"sha256": sha256, "top1": round(seen(network, Augment(), DATA)["top1"], 2)}
    return found


def main() -> int:
    """Evaluate and write upstream.json; the exit status: 0, or 1 when data or weights are missing or damaged."""
    return exit_status(lambda: write_json(OUT, evaluate()))


if __name__ == "__main__":
    sys.exit(main())
