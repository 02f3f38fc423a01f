"""Published Res2Net weights under our names: timm's, whose names are those of the release."""

from __future__ import annotations

import re

from torch import Tensor

from shared.weights.names import under_our_names

STEMS = {
    **{"conv1": "stem.0", "bn1": "stem.1"},
    **{f"conv1.{3 * layer + part}": f"stem.{layer}.{part}" for layer in range(3) for part in (0, 1)},
    **{f"{name}.{part}": f"stem.{layer}.{part}"
       for layer, name in enumerate(("base_layer", "level0", "level1")) for part in (0, 1)},
}  # fmt: skip
# Inside a block; a block without groups has `conv2`.
LAYERS = {f"{kind}{layer + 1}": f"body.{layer}.{part}" for layer in range(3)
          for part, kind in enumerate(("conv", "bn"))}  # fmt: skip
LADDER = {"convs": 0, "bns": 1}
SQUEEZE = {"fc1": "reduce", "fc2": "expand"}
ROOT = {"conv": "0", "bn": "1"}
HALVES = {"tree1": "left", "tree2": "right"}
BLOCK = re.compile(r"layer(\d)\.(\d+)\.(.+)\.(\w+)")
TREE = re.compile(r"level([2-5])((?:\.tree[12])*)\.(.+)\.(\w+)")
# Trees of trees have a projection in the release of DLA that nothing reads.
UNUSED = re.compile(r"level(3|4|4\.tree1)\.project\.\d\.\w+")


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of `papers.res2net.model.Res2Net`, or of `papers.res2net.dla.DLA60`, from theirs.

    Raises:
        PapertrailError: a tensor has a name that no release has, or the place of another tensor.
    """
    deep = "conv1.0.weight" in state
    read = {
        name: tensor.flatten(1) if name == "fc.weight" else tensor  # DLA's is a 1x1 convolution
        for name, tensor in state.items()
        if not UNUSED.fullmatch(name)
    }
    return under_our_names(read, lambda name: _renamed(name, deep), "a published Res2Net")


def _renamed(name: str, deep: bool) -> str:
    """LookupError: there is no such name."""
    if found := BLOCK.fullmatch(name):
        stage, number, layer, kind = found.groups()
        return f"stages.{int(stage) - 1}.{number}.{_in_block(layer)}.{kind}"
    if found := TREE.fullmatch(name):
        stage, halves, layer, kind = found.groups()
        path = [f"stages.{int(stage) - 2}", *(HALVES[half] for half in halves.split(".")[1:])]
        part, _, rest = layer.partition(".")
        place = f"root.{ROOT[rest]}" if part == "root" else layer if part == "project" else _in_block(layer)
        return ".".join([*path, place, kind])
    layer, _, kind = name.rpartition(".")
    if layer == "fc":
        return f"classifier.{kind}"
    return f"{'stem.2.1' if deep and layer == 'bn1' else STEMS[layer]}.{kind}"


def _in_block(layer: str) -> str:
    part, _, number = layer.partition(".")
    if part == "downsample":
        return f"shortcut.{number}"
    if part == "se":
        return f"body.3.{SQUEEZE[number]}"
    return f"body.1.convs.{number}.{LADDER[part]}" if part in LADDER else LAYERS[layer]
