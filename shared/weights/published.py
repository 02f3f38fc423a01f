"""Others' trained networks in our own form: to check network, names and data at once, and for arms to begin with.

A paper's upstream.py names them as PUBLISHED; `python -m papers.<slug>.upstream` looks for their files in the folder
`weights` that PAPERTRAIL_DATA holds, evaluates them on the test images, and writes what they give into upstream.json
beside it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from shared import datasets
from shared.builders import build
from shared.code import code_of
from shared.datasets.augment import normalise, to_unit
from shared.datasets.find import data_root
from shared.errors import DataError, UsageError, exit_status, nearest
from shared.files import sha256_file, write_json
from shared.weights.convert import convert
from shared.weights.given import Given
from shared.weights.storage import fill, load_weights

BATCH = 250


@dataclass(frozen=True)
class Published:
    """A trained network of others.

    Attributes:
        source: where it was published.
        file: its name there, or here.
        sha256: of the file.
        licence: of the file; None where its source states none: then it is evaluated, and nothing begins with it.
        says: its top-1 accuracy in percent as published with it, in the digits of the print; None where none was.
        paper: the slug whose builder and upstream.py make our network of it.
        model: the builder.
        args: the builder's arguments.
        mean: that the images are normalised by, for each channel.
        std: likewise.
        data: whose test split it is evaluated on.
    """

    source: str
    file: str
    sha256: str
    licence: str | None
    says: str | None
    paper: str
    model: str
    args: Mapping[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    data: str = "cifar10"

    def network(self) -> nn.Module:
        """Ours with its weights, in evaluation mode; DataError when the file is missing or not the pinned one."""
        root = data_root()
        if root is None:
            raise DataError("PAPERTRAIL_DATA is not set; it names the folder that holds `weights`")
        file = root / "weights" / self.file
        if not file.is_file() or sha256_file(file) != self.sha256:
            raise DataError(f"{file}: missing, or not the file of sha256 {self.sha256}; download it from {self.source}")
        args, classes = dict(self.args), datasets.spec(self.data).classes
        with tempfile.TemporaryDirectory() as scratch:
            converted = Path(scratch) / "weights.safetensors"
            convert(self.paper, file, self.model, args, classes, converted)
            network = build(self.paper, self.model, args, classes)
            fill(network, load_weights(converted, None), file)
        return network.eval()

    def right(self, network: nn.Module, images: int | None = None) -> int:
        """How many of the test images, or of the first `images`, the network is right about."""
        test = datasets.opened(self.data).read("test")
        seen, labels = test.images[:images], test.labels[:images]
        with torch.inference_mode():
            return sum(
                int((network(normalise(to_unit(some), self.mean, self.std)).argmax(1) == answers).sum())
                for some, answers in zip(seen.split(BATCH), labels.split(BATCH), strict=True)
            )

    def evaluate(self) -> Given:
        """What upstream.json has of it."""
        top1 = round(100 * self.right(self.network()) / datasets.spec(self.data).counts["test"], 2)
        return Given(source=self.source, sha256=self.sha256, licence=self.licence, says=self.says, top1=top1)


def published(reference: str) -> Published:
    """`<slug>/<name>`, one of a paper's PUBLISHED; UsageError names the nearest."""
    slug, _, name = reference.partition("/")
    known: Mapping[str, Published] = getattr(code_of(slug, "upstream"), "PUBLISHED", {})
    if name not in known:
        raise UsageError(f"papers/{slug}/upstream.py has no published network `{name}`; {nearest(name, known)}")
    return known[name]


def write_record(networks: Mapping[str, Published], module: str) -> int:
    """Evaluate and write upstream.json beside `module`, an upstream.py; the command's exit status."""
    out = Path(module).with_name("upstream.json")
    return exit_status(lambda: write_json(out, {name: one.evaluate().model_dump() for name, one in networks.items()}))
