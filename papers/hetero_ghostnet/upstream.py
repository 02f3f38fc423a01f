"""Published weights under our names: timm's RegNetX, the released G-Ghost-RegNet, and GhostNet of either."""

from __future__ import annotations

import re

from torch import Tensor

from papers.ghostnet import upstream as ghostnet
from shared.weights.names import under_our_names

# Outside the stages; timm's names have a point.
WHOLE = {"stem.conv": "stem.0", "stem.bn": "stem.1", "head.fc": "classifier"}
WHOLE |= {"conv1": "stem.0", "bn1": "stem.1", "fc": "classifier"}
# Within a block: the shortcut, and the three convolutions with their norms.
INNER = {"downsample.conv": "shortcut.0", "downsample.bn": "shortcut.1"}
INNER |= {"downsample.0": "shortcut.0", "downsample.1": "shortcut.1"}
INNER |= {f"conv{number}.conv": f"body.{number - 1}.0" for number in (1, 2, 3)}
INNER |= {f"conv{number}.bn": f"body.{number - 1}.1" for number in (1, 2, 3)}
INNER |= {f"conv{number}": f"body.{number - 1}.0" for number in (1, 2, 3)}
INNER |= {f"bn{number}": f"body.{number - 1}.1" for number in (1, 2, 3)}
# Within a G-Ghost stage, beside its blocks: there the pooling, and here the slice, is a layer of the sequence.
MIXED = {"merge.1": "mix.0", "merge.2": "mix.1", "merge.4": "mix.3", "merge.5": "mix.4"}
MIXED |= {"cheap.0": "cheap.1", "cheap.1": "cheap.2"}
ENDS = {"base": "first", "end": "last"}
STAGE = re.compile(r"(?:s|layer)([1-4])\.(.+)")
BLOCK = re.compile(r"(?:b(?P<counted>\d+)|(?P<plain>\d+)|(?P<end>base|end)|layers\.(?P<narrow>\d+))\.(?P<inner>.+)")


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of our RegNetX, G-Ghost-RegNet (form code) or GhostNet from theirs.

    Raises:
        PapertrailError: a tensor has a name that none of the releases has, or the place of another tensor.
    """
    if "conv_stem.weight" in state:
        return ghostnet.rename(state)
    return under_our_names(state, _renamed, "a published RegNetX, G-Ghost-RegNet or GhostNet")


def _renamed(name: str) -> str:
    """LookupError: there is no such name."""
    layer, _, kind = name.rpartition(".")
    return f"{_layer(layer)}.{kind}"


def _layer(name: str) -> str:
    """LookupError: there is no such layer."""
    if name in WHOLE:
        return WHOLE[name]
    stage = STAGE.fullmatch(name)
    if stage is None:
        raise LookupError(name)
    where = f"stages.{int(stage[1]) - 1}"
    if stage[2] in MIXED:
        return f"{where}.{MIXED[stage[2]]}"
    block = BLOCK.fullmatch(stage[2])
    if block is None:
        raise LookupError(name)
    if block["counted"]:  # from 1
        place = str(int(block["counted"]) - 1)
    elif block["narrow"]:
        place = f"path.{block['narrow']}"
    else:
        place = block["plain"] or ENDS[block["end"]]
    return f"{where}.{place}.{INNER[block['inner']]}"
