"""Published ShuffleNet weights under our names: those of the official code, which shuffles behind the depthwise filter.

A shuffle in front of the depthwise convolution, as the paper has it, is the same function of the same filters in
another order, so that these filters and their normalisation are put into that order here.
"""

from __future__ import annotations

import re
from itertools import accumulate

from torch import Tensor

from papers.shufflenet.model import REPEATS, parse_repeats, shuffle_layer
from shared.errors import PapertrailError
from shared.weights.names import under_our_names

WHOLE = {"first_conv.0": "stem.0", "first_conv.1": "stem.1", "classifier.0": "classifier"}
LAYERS = {
    "branch_main_1.0": "reduce.0", "branch_main_1.1": "reduce.1", "branch_main_1.3": "spatial.0",
    "branch_main_1.4": "spatial.1", "branch_main_2.0": "expand.0", "branch_main_2.1": "expand.1",
}  # fmt: skip
UNIT = re.compile(r"features\.(\d+)\.(\w+\.\d+)")
# A unit of stride 1 tells the number of groups: the channels that it has out and in, and those that a filter sees.
OUT, SEEN = "features.1.branch_main_2.0.weight", "features.1.branch_main_1.0.weight"


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dictionary of `papers.shufflenet.model.ShuffleNet` with `permutation="code"`, from theirs.

    Raises:
        PapertrailError: a tensor has a name that the official code does not have or the place of another tensor, or the
            second unit is missing.
    """
    if not {OUT, SEEN} <= state.keys():
        raise PapertrailError(f"`{SEEN}` or `{OUT}` is missing: these are no weights of the official ShuffleNet")
    groups = state[OUT].shape[0] // state[SEEN].shape[1]
    renamed = under_our_names(state, _renamed, "the official ShuffleNet")
    for name, tensor in list(renamed.items()):
        unit, spatial, _ = name.partition(".spatial.")
        if spatial and groups > 1 and tensor.ndim:
            index = shuffle_layer(len(tensor), groups, "code").index
            renamed |= {name: tensor[index], f"{unit}.shuffle.index": index}
    return renamed


def _renamed(name: str) -> str:
    """LookupError: there is no such name."""
    layer, _, kind = name.rpartition(".")
    found = UNIT.fullmatch(layer)
    return f"{WHOLE[layer] if found is None else f'{_unit(int(found[1]))}.{LAYERS[found[2]]}'}.{kind}"


def _unit(number: int) -> str:
    """Ours of a unit that is numbered through all stages there; LookupError when there is none."""
    ends = list(accumulate(parse_repeats(REPEATS)))
    if number >= ends[-1]:
        raise LookupError(number)
    stage = next(place for place, end in enumerate(ends) if number < end)
    return f"stages.{stage}.{number - (ends[stage - 1] if stage else 0)}"
