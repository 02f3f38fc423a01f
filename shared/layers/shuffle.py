"""Channel shuffle (Zhang et al., ShuffleNet, CVPR 2018, section 3.1) as a permutation that pruning can shorten."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelShuffle(nn.Module):
    """(N, channels, ...) to the same shape: the first channel of each group, the second of each group, and so on.

    The buffer `index` (int64, `channels`) says which input channel stands at each place of the output. A pruned
    network's weights bring one of their own: the old permutation without the dropped channels, which need not be a
    regular shuffle any more; for that reason `groups` need not divide `channels` (the last groups are then shorter).

    Raises:
        ValueError: `groups` is not from 1 to `channels`.
    """

    index: Tensor

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        if not 1 <= groups <= channels:
            raise ValueError(f"groups is from 1 to the {channels} channels, not {groups}")
        length = -(-channels // groups)
        order = [group * length + place for place in range(length) for group in range(groups)]
        # A list, since on the device "meta" nothing can be chosen by a tensor's values.
        self.register_buffer("index", torch.tensor([source for source in order if source < channels]))

    def forward(self, x: Tensor) -> Tensor:
        """The permuted channels."""
        return x.index_select(1, self.index)

    def extra_repr(self) -> str:
        """The number of channels."""
        return str(len(self.index))
