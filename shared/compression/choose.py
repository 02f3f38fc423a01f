"""Which channels stay, given the importance of each and the ratio that is to go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction

import torch
from torch import Tensor

from shared.errors import PapertrailError, UsageError, nearest


@dataclass(frozen=True)
class Choice:
    """What stays.

    Attributes:
        keep: name of a prunable layer: (channels,) bool, at least one of them true.
        floors: layers that would have lost every channel, in order; each kept its most important one.
    """

    keep: dict[str, Tensor]
    floors: tuple[str, ...]


def global_threshold(scores: Mapping[str, Tensor], ratio: float, most: float = 1.0) -> Choice:
    """One threshold for all layers (Liu et al., Network Slimming, ICCV 2017, section 3.2).

    The threshold is number int(total * ratio), from 0, of all channels in ascending order, as in the official code. A
    channel stays when it is above: the one at the threshold goes too, with all its equals. A ratio of 0 keeps all.

    Args:
        scores: the importance.
        ratio: the share of all channels that goes.
        most: the share of its channels that a layer can lose, rounded down, the least important ones first. Multi-pass
            slimming needs it (table 4).

    Raises:
        UsageError: the ratio is not from 0 to below 1.
        PapertrailError: there is no layer, or an importance is not a finite number.
    """
    _check(scores, [ratio])
    if ratio == 0:
        return Choice({name: torch.ones_like(score, dtype=torch.bool) for name, score in scores.items()}, ())
    every = torch.cat(list(scores.values())).sort().values
    threshold = every[int(len(every) * ratio)]
    keep = {}
    for name, score in scores.items():
        count = max(int((score > threshold).sum()), len(score) - int(len(score) * Fraction(str(most))))
        keep[name] = _best(score, count)
    return _floored(scores, keep)


def per_layer(scores: Mapping[str, Tensor], ratio: float | Mapping[str, float]) -> Choice:
    """Each layer keeps its int(channels * (1 - ratio)) most important channels, the first ones among equals.

    Args:
        scores: the importance.
        ratio: for every layer, or for each name or glob of names; the last one that meets a layer counts, and a layer
            that none meets keeps everything.

    Raises:
        UsageError: a ratio is not from 0 to below 1, or a name meets no layer.
        PapertrailError: there is no layer, or an importance is not a finite number.
    """
    ratios = ratio if isinstance(ratio, Mapping) else {"*": ratio}
    _check(scores, ratios.values())
    for pattern in ratios:
        if not any(fnmatchcase(name, pattern) for name in scores):
            raise UsageError(f"ratio: {pattern!r} meets no prunable layer; {nearest(pattern, scores)}")
    keep = {}
    for name, score in scores.items():
        own = [value for pattern, value in ratios.items() if fnmatchcase(name, pattern)][-1:] or [0.0]
        # The decimal fraction as it is written: 10 * (1 - 0.9) is 1, not 0.99...
        count = int(len(score) * (1 - Fraction(str(own[0]))))
        keep[name] = _best(score, count)
    return _floored(scores, keep)


def _best(score: Tensor, count: int) -> Tensor:
    """The `count` most important channels, the first ones among equals."""
    mask = torch.zeros_like(score, dtype=torch.bool)
    mask[score.argsort(descending=True, stable=True)[:count]] = True
    return mask


def _check(scores: Mapping[str, Tensor], ratios: Iterable[float]) -> None:
    if not scores:
        raise PapertrailError("no layer of this network is prunable, so no channel can go")
    for ratio in ratios:
        if not 0 <= ratio < 1:
            raise UsageError(f"ratio: {ratio} is not from 0 to below 1")
    for name, score in scores.items():
        if not bool(score.isfinite().all()):
            raise PapertrailError(
                f"{name}: the importance of a channel is not a finite number; did the training diverge?"
            )


def _floored(scores: Mapping[str, Tensor], keep: dict[str, Tensor]) -> Choice:
    floors = tuple(name for name, mask in keep.items() if not bool(mask.any()))
    for name in floors:
        keep[name][scores[name].argmax()] = True
    return Choice(keep, floors)
