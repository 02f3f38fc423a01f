"""Channel selection (Liu et al., Network Slimming, ICCV 2017, section 3.3): which channels a branch reads."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelSelect(nn.Module):
    """(N, channels, ...) to (N, kept, ...): the channels at `index`, ascending.

    It stands where many layers read one tensor (a residual stream, a dense block), so that each can leave out channels
    of its own. The paper's place is behind the BatchNorm; ours is before it, so that the norm too is `kept` wide: the
    same function with fewer parameters. A new layer selects the first channels; a pruned network's weights bring
    the buffer `index` (int64, `kept`).

    Raises:
        ValueError: `kept` is not from 1 to `channels`.
    """

    index: Tensor

    def __init__(self, channels: int, kept: int) -> None:
        super().__init__()
        if not 1 <= kept <= channels:
            raise ValueError(f"kept is from 1 to the {channels} channels, not {kept}")
        self.channels = channels
        self.register_buffer("index", torch.arange(kept))

    def forward(self, x: Tensor) -> Tensor:
        """The selected channels."""
        return x.index_select(1, self.index)

    def extra_repr(self) -> str:
        """How many of how many."""
        return f"{self.channels}, {len(self.index)}"
