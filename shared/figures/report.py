"""What the notebook of every paper does alike: look claims up, draw the runs, and leave no claim out."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from numpy.typing import NDArray
from torch import nn

from shared.checkpoints import Card, cards, load_checkpoint
from shared.detection.sets import any_spec
from shared.figures import plots
from shared.files import ROOT
from shared.ledger import Entry, judge, load_claims, tables
from shared.ledger.claims import RunCheck
from shared.ledger.evidence import REPEATED, arm_result
from shared.ledger.intervals import welch
from shared.training.recipe import load_protocols

Row = dict[str, str]


def note(text: str) -> None:
    """Show Markdown."""
    display(Markdown(text))


class Report:
    """The claims, the verdicts and the runs of a paper, for its notebook.

    Attributes:
        slug: of the paper.
        folder: papers/<slug>.
        protocols: by name.
        claims: as claims.yaml has them.
        entries: the claims with their verdicts.
        orderings: the checks of the claims that runs decide, by the claim's identifier.
        current: the cards that no other supersedes.
    """

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.folder = ROOT / "papers" / slug
        self.protocols = load_protocols(self.folder / "params.yaml")
        self.claims = load_claims(slug)
        self.entries = judge(slug)
        self.orderings = {claim.id: claim.check for claim in self.claims if isinstance(claim.check, RunCheck)}
        superseded = {card.supersedes for card in cards(slug)}
        self.current = [card for card in cards(slug) if card.name not in superseded]
        self._shown: set[str] = set()
        plots.use_style()

    def of(self, *places: str) -> list[Entry]:
        """The claims that stand in `places`; `show_rest` shows those that nothing asked for."""
        found = [entry for entry in self.entries if not {*places}.isdisjoint(entry.places)]
        self._shown.update(entry.id for entry in found)
        return found

    def arms(self, protocol: str) -> list[str]:
        """The arms of a protocol that a claim compares."""
        checks = [check for check in self.orderings.values() if check.protocol == protocol]
        return list(dict.fromkeys(arm for check in checks for arm in (check.better, check.than)))

    def checkpoint(self, name: str) -> tuple[nn.Module, Card] | None:
        """A pinned checkpoint, or None and a line that says so."""
        if (self.folder / "checkpoints" / f"{name}.json").exists():
            return load_checkpoint(f"{self.slug}/{name}")
        note(f"*Not here:* the checkpoint `{self.slug}/{name}` is not pinned yet, so that this figure cannot be made.")
        return None

    def rows(self, protocol: str, arm: str) -> dict[str, list[Row]]:
        """An arm's curves by seed: `mini` as run on this machine, other protocols as pinned; empty without any."""
        found: dict[str, list[Row]] = {}
        if protocol == REPEATED:
            file = self.folder / "runs" / protocol / arm / "curves.csv"
            for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()) if file.exists() else []:
                found.setdefault(row["seed"], []).append(row)
            return found
        for card in self.current:
            if (card.protocol, card.arm) == (protocol, arm):
                found[str(card.seed)] = [{name: str(value) for name, value in row.items()} for row in card.curves]
        return found

    def curves(self, protocol: str, arm: str, column: str) -> NDArray[np.float64] | None:
        """A column of an arm's curves (seeds, epochs); a run that diverged goes on as nothing; None without any run."""
        lines = [[float(row[column]) for row in rows] for rows in self.rows(protocol, arm).values()]
        if not lines:
            return None
        length = max(map(len, lines))
        return np.array([line + [math.nan] * (length - len(line)) for line in lines])

    def show_curves(self, protocol: str, labels: Mapping[str, str]) -> None:
        """Draw the learning curves of the arms that `labels` names: test accuracy, or a detector's training loss."""
        plan = self.protocols[protocol]
        detects = plan.recipe.task == "detection"
        column, title = ("train_loss", "training loss") if detects else ("test_top1", "test top-1, %")
        found = {}
        for arm, label in labels.items():
            values = self.curves(protocol, arm, column)
            if values is not None:
                found[label] = values
        note(f"`{protocol}`: {plan.what}." + ("" if found else " *Not here:* no run yet."))
        if found:
            _, axes = plt.subplots(figsize=(5.4, 3.2))
            plots.curve_band(axes, found)
            axes.set(title=any_spec(plan.data).title, ylabel=title)
            axes.legend()
            plt.show()

    def show_orderings(self, axis: str, label: str = "{0.protocol}: {0.better} - {0.than}") -> None:
        """Draw the interval of each ordering that was run, and list them all.

        Args:
            axis: what the differences are differences of.
            label: of an ordering; a format of its RunCheck.
        """
        differences = []
        verdicts = {entry.id: entry.verdict for entry in self.entries}
        for name, check in self.orderings.items():
            plan = self.protocols[check.protocol]
            better, than = (
                arm_result(self.slug, check.protocol, plan, arm, check.metric) for arm in (check.better, check.than)
            )
            if better and than and min(len(better.values), len(than.values)) > 1:
                gap = welch([*better.values.values()], [*than.values.values()])
                differences.append(
                    plots.Difference(label.format(check), gap.mean, gap.low, gap.high, check.margin, verdicts[name])
                )
        if differences:
            _, axes = plt.subplots(figsize=(9.5, 0.8 + 0.42 * len(differences)))
            plots.difference_intervals(axes, differences)
            axes.set_xlabel(axis)
            plt.show()
        else:
            note("*Not here:* no arm has been trained here and none is pinned.")
        note(tables.section(self.runs))

    @property
    def runs(self) -> list[Entry]:
        """The claims that runs decide."""
        return [entry for entry in self.entries if entry.check == "run"]

    def show_rest(self) -> None:
        """Show the claims that `of` was not asked for, so that none is left out."""
        rest = [entry for entry in self.entries if entry.id not in self._shown and entry.check != "run"]
        for place in tables.in_order({entry.where for entry in rest}):
            note(f"### {place}\n\n" + tables.section([entry for entry in rest if entry.where == place]))
