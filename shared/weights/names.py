"""Published state dictionaries under our names: what every paper's upstream.py does alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shared.errors import PapertrailError


def under_our_names(state: dict[str, Tensor], ours: Callable[[str], str], network: str) -> dict[str, Tensor]:
    """The same tensors, each named as `ours` says, which raises LookupError for what is no name of theirs.

    Raises:
        PapertrailError: there is no such name, or two tensors have one place; `network` says whose names are meant,
            such as "a published GhostNet".
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        try:
            place = ours(name)
        except LookupError:
            raise PapertrailError(f"`{name}` is no name of {network}") from None
        if place in renamed:
            raise PapertrailError(f"`{name}` has the place of another tensor, `{place}` here")
        renamed[place] = tensor
    return renamed


def with_batches_counted(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With a count of zero for each batch normalisation that has none, as in files of before PyTorch 0.4.1."""
    norms = [name.removesuffix("running_var") for name in state if name.endswith("running_var")]
    counts = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    return state | {name: count for name, count in counts.items() if name not in state}
