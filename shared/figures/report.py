"""What the notebook of every paper does alike: show an exhibit, draw the runs, and leave no claim out."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from numpy.typing import NDArray
from torch import nn

from shared import datasets
from shared.errors import UsageError, nearest
from shared.figures import plots
from shared.files import ROOT
from shared.ledger import Entry, tables
from shared.ledger.claims import RunCheck
from shared.ledger.evidence import ArmResult, arm_result
from shared.ledger.expand import load_claims
from shared.ledger.intervals import welch
from shared.ledger.judge import judge
from shared.ledger.local import local_lines
from shared.ledger.render import costs, sentence
from shared.paper import load_paper
from shared.training.protocol import load_protocols
from shared.training.tasks import task_of
from shared.weights.card import Identity
from shared.weights.given import given_to
from shared.weights.load import load_checkpoint
from shared.weights.records import SeedRecord, read_records


def note(text: str) -> None:
    """Show Markdown."""
    display(Markdown(text))


class Report:
    """The claims, the verdicts and the runs of a paper, for its notebook.

    Attributes:
        slug: of the paper.
        folder: papers/<slug>.
        paper: as paper.yaml has it.
        protocols: by name.
        entries: the claims with their verdicts.
        orderings: the checks of the claims that runs decide, by the claim's identifier.
    """

    def __init__(self, slug: str) -> None:
        self.slug = slug
        self.folder = ROOT / "papers" / slug
        self.paper = load_paper(slug)
        self.protocols = load_protocols(self.folder / "params.yaml")
        self.entries = judge(slug)
        checks = {claim.id: claim.check for claim in load_claims(slug)}
        self.orderings = {name: check for name, check in checks.items() if isinstance(check, RunCheck)}
        self._needs = costs(slug)
        self._shown: set[str] = set()
        plots.use_style()

    # What the notebook says.

    def opening(self) -> None:
        """Show the verdict, what the marks mean, how much of the paper is made, and this machine's own runs."""
        note(f"**{sentence(self.paper, {entry.id: entry.ours for entry in self.entries})}**")
        note(f"{tables.verdict_line(self.entries)} {tables.legend(self.entries)}")
        missing = [f"- {one.name}{', counts only' if one.made == 'counts only' else ''}: {one.why}"
                   for one in self.paper.exhibits if one.made != "notebook"]  # fmt: skip
        note("\n".join([f"{self.coverage()}.", "", *missing]))
        if local := local_lines(self.slug):
            note("\n".join(["This machine's own runs, which decide nothing:", "", *(f"- {line}" for line in local)]))

    def coverage(self) -> str:
        """Such as "Tables 8 of 8, figures 5 of 7": how many exhibits have a section here."""
        if not self.paper.exhibits:
            return "No copy of the paper's tables and figures is known here"
        made = [[one.made != "no" for one in self.paper.exhibits if one.name.startswith(kind)]
                for kind in ("Table", "Figure")]  # fmt: skip
        return ", ".join(
            f"{kind} {sum(all_)} of {len(all_)}" for kind, all_ in zip(("Tables", "figures"), made, strict=True)
        )

    def of(self, *places: str) -> list[Entry]:
        """The claims that stand in `places`; `rest` shows those that nothing asked for."""
        found = [entry for entry in self.entries if not {*places}.isdisjoint(entry.places)]
        self._shown.update(entry.id for entry in found)
        return found

    def exhibit(self, name: str) -> None:
        """Show a table or a figure of the paper: each part beside ours, then the intervals of its orderings."""
        known = {one.name: one for one in self.paper.exhibits}
        if name not in known:
            raise UsageError(f"{self.folder / 'paper.yaml'}: no exhibit `{name}`; {nearest(name, known)}")
        self._show([place for place in self._places(self.entries) if known[name].holds(place)], titled=False)

    def place(self, name: str) -> None:
        """Show the claims of a place that is no exhibit: a section, or a page of released code."""
        known = self._places(self.entries)
        if name not in known:
            raise UsageError(f"{self.folder / 'claims.yaml'}: no claim stands in `{name}`; {nearest(name, known)}")
        self._show([name], titled=False)

    def rest(self) -> None:
        """Show the claims that nothing else has shown, place by place, so that none is left out."""
        left = [entry for entry in self.entries if entry.id not in self._shown]
        self._show(tables.in_order(self._places(left)), titled=True)

    def published(self) -> None:
        """Show what others' trained networks give in ours, by the record that the paper's upstream.py has written."""
        rows = [
            [f"[{name}]({found.source})", found.says or "not found", f"{found.top1:.2f}"]
            for name, found in given_to(self.paper.slug).items()
        ]
        note(tables.markdown_table(["trained by others", "top-1 as published, %", "in our network, %"], rows))

    def learned(self) -> None:
        """Show what surprised us."""
        note("\n".join(f"- {point}" for point in self.paper.learned))

    @staticmethod
    def _places(entries: Sequence[Entry]) -> list[str]:
        return list(dict.fromkeys(place for entry in entries for place in entry.places))

    def _show(self, places: Sequence[str], *, titled: bool) -> None:
        for place in places:
            entries = self.of(place)
            title = f"### {place}\n\n" if titled or len(places) > 1 else ""
            note(title + tables.exhibit(entries, self._needs, brief=True))
            self._draw_orderings(entries)

    def _draw_orderings(self, entries: Sequence[Entry]) -> None:
        differences = []
        for entry in entries:
            check = self.orderings.get(entry.id)
            found = (
                [self.result(check.protocol, arm, check.metric) for arm in (check.better, check.than)] if check else []
            )
            values = [list(one.values.values()) for one in found if one]
            if check and len(values) == 2 and min(map(len, values)) > 1:
                gap = welch(*values)
                label = f"{textwrap.fill(entry.row, 60)}\n{self.scale(check.protocol)}"
                differences.append(plots.Difference(label, gap.mean, gap.low, gap.high, check.margin, entry.verdict))
        if differences:
            _, axes = plt.subplots(figsize=(9.5, 0.9 + 0.55 * len(differences)))
            plots.difference_intervals(axes, differences)
            axes.set_xlabel("difference of means, points, with its 95 % interval; black: what decides")
            plt.show()

    # What the figures read.

    def checkpoint(self, name: str) -> tuple[nn.Module, Identity] | None:
        """A kept checkpoint, or None and a line that says so."""
        if (self.folder / "checkpoints" / f"{name}.json").exists():
            return load_checkpoint(f"{self.slug}/{name}")
        note(f"*Not here:* the checkpoint `{self.slug}/{name}` is not kept, so that this figure cannot be made.")
        return None

    def scale(self, protocol: str) -> str:
        """A protocol in words: the data and the length of its training."""
        plan = self.protocols[protocol]
        epochs = getattr(plan.recipe, "epochs", None)
        return datasets.spec(plan.data).title + (f", {epochs} epochs" if epochs else "")

    def arms(self, protocol: str) -> list[str]:
        """The arms of a protocol that a claim compares."""
        checks = [check for check in self.orderings.values() if check.protocol == protocol]
        return list(dict.fromkeys(arm for check in checks for arm in (check.better, check.than)))

    def result(self, protocol: str, arm: str, metric: str = "top1") -> ArmResult | None:
        """What the runs of an arm found, when params.yaml has it and it was run."""
        plan = self.protocols[protocol]
        return arm_result(self.slug, protocol, plan, arm, metric) if arm in plan.arms else None

    def records(self, protocol: str, arm: str) -> dict[str, SeedRecord]:
        """The pinned runs of an arm by seed; empty without any."""
        found = read_records(self.slug, protocol)
        return dict(found.arms[arm].seeds) if found is not None and arm in found.arms else {}

    def points(
        self, protocol: str, arms: Mapping[str, tuple[str, str]], cost: Literal["params", "macs"], unit: float
    ) -> list[plots.Point]:
        """The pinned runs of a protocol in a chart of accuracy against cost: the mean over the seeds, spread by std.

        Args:
            protocol: a name of params.yaml.
            arms: arm -> the family of its point, and what stands beside it.
            cost: as the records have it, in `unit`s.
        """
        points = []
        for arm, (family, label) in arms.items():
            result, records = self.result(protocol, arm), self.records(protocol, arm)
            if result is not None and records:
                spent = getattr(next(iter(records.values())), cost) / unit
                points.append(plots.Point(family, label, spent, result.mean, counted=True, spread=result.std or 0.0))
        return points

    def curves(self, protocol: str, arm: str, column: str) -> NDArray[np.float64] | None:
        """A column of an arm's curves (seeds, epochs); a run that diverged goes on as nothing; None without any run."""
        lines = [list(run.curves[column]) for run in self.records(protocol, arm).values()]
        if not lines:
            return None
        length = max(map(len, lines))
        return np.array([line + [math.nan] * (length - len(line)) for line in lines])

    def show_curves(self, protocol: str, labels: Mapping[str, str]) -> None:
        """Draw the learning curves of the arms that `labels` names."""
        plan = self.protocols[protocol]
        column, title = task_of(plan.recipe).curve
        found = {label: values for arm, label in labels.items()
                 if (values := self.curves(protocol, arm, column)) is not None}  # fmt: skip
        if not found:
            note(f"*Not here:* {plan.what}: no run is pinned yet.")
            return
        _, axes = plt.subplots(figsize=(6.4, 3.4))
        plots.curve_band(axes, found)
        axes.set(title=self.scale(protocol), ylabel=title)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
        plt.show()
