"""Stochastic depth (Huang et al. 2016): in training, the residual branch of some samples is left out."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Sets whole samples of (N, ...) to zero in training, and scales the others so that the mean stays the same.

    Args:
        rate: how often a sample's branch is left out.

    Raises:
        ValueError: the rate is below 0, or not below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the rate of stochastic depth must be from 0 to below 1, not {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as `x`."""
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(len(x), *(1,) * (x.dim() - 1)).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))

    def extra_repr(self) -> str:
        """The rate."""
        return f"rate={self.rate:g}"


def linear_rates(most: float, blocks: int) -> list[float]:
    """The rate of each block in the order of depth, from 0 in the first to `most` in the last.

    Raises:
        ValueError: as `DropPath`.
    """
    DropPath(most)
    return [most * place / max(blocks - 1, 1) for place in range(blocks)]
