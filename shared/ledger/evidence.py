"""What runs found: the results of an arm, seed by seed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from shared.errors import PapertrailError
from shared.files import ROOT, read_json
from shared.training.recipe import Protocol, completed
from shared.weights.card import read_card

Arguments = dict[str, bool | int | float | str]

# The protocol whose runs are repeated on every machine; of all others the pinned checkpoints are the evidence.
REPEATED = "mini"

# The arguments that pruning finds.
FOUND = {"widths", "branches", "gates"}


@dataclass(frozen=True)
class ArmResult:
    """A metric of one arm, by seed."""

    values: dict[int, float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """Over the seeds (n - 1); None for a single one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


def arm_result(slug: str, protocol: str, plan: Protocol, arm: str, metric: str = "top1") -> ArmResult | None:
    """What the runs of an arm found; None when there are none.

    `mini` is read from the runs of this machine, any other protocol from the pinned cards that nothing supersedes.

    Raises:
        PapertrailError: a file lacks the metric, two cards share a seed, or a card is of another network, data set or
            recipe than `plan`, the protocol in params.yaml, states.
    """
    paper = ROOT / "papers" / slug
    if protocol == REPEATED:
        values = _repeated(paper / "runs" / protocol / arm / "metrics.json", metric)
    else:
        values = _pinned(paper / "checkpoints", protocol, plan, arm, metric)
    return ArmResult(values) if values else None


def _repeated(file: Path, metric: str) -> dict[int, float]:
    if not file.exists():
        return {}
    try:
        return {int(seed): float(value) for seed, value in read_json(file)[metric]["seeds"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PapertrailError(f"{file}: no seeds of `{metric}`; train the arm again") from error


def _pinned(folder: Path, protocol: str, plan: Protocol, arm: str, metric: str) -> dict[int, float]:
    files = {file: read_card(file) for file in sorted(folder.glob("*.json"))}
    superseded = {card.supersedes for card in files.values()}
    values: dict[int, float] = {}
    for file, card in files.items():
        if (card.protocol, card.arm) != (protocol, arm) or card.name in superseded:
            continue
        origin = plan.origin(arm)
        found = {
            "model": (card.model, origin.builder),
            "args": (_stated(card.args, plan, arm), _stated(origin.args, plan, arm)),
            "data": (card.data, plan.data),
            "recipe": (completed(card.recipe, plan.recipe), plan.recipe_of(arm).model_dump(mode="json")),
        }
        for key, (pinned, stated) in found.items():
            if pinned != stated:
                raise PapertrailError(f"{file}: its {key} is not what params.yaml states; train and pin it again")
        if metric not in card.metrics:
            raise PapertrailError(f"{file}: no metric `{metric}`; it has {', '.join(card.metrics)}")
        if card.seed in values:
            raise PapertrailError(f"{file}: seed {card.seed} of {protocol}/{arm} is pinned twice; supersede one of the "
                                  "two")  # fmt: skip
        values[card.seed] = card.metrics[metric]
    return values


def _stated(args: Arguments, plan: Protocol, arm: str) -> Arguments:
    """The arguments that params.yaml decides; in an arm that continues another, pruning found the rest."""
    return args if plan.arms[arm].of is None else {name: args[name] for name in args.keys() - FOUND}
