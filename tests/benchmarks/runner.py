"""The runner of `papertrail bench`: sides measured in turn in one process, and the ratios of their speeds.

A benchmark is a file bench_<name>.py beside this one, with `contests(tiny: bool) -> list[Contest]`. The sides of a
contest take turns (A B C, A B C, ...), so that whatever else the machine does meets them alike; each turn gives one
ratio, and the median and the quartiles over the turns are reported.
"""

from __future__ import annotations

import datetime
import importlib.util
import itertools
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from shared.errors import UsageError, nearest
from shared.files import git_commit, read_json, write_json

FOLDER = Path(__file__).parent
SECONDS = 40  # a contest ends after the turn that passes this, when it has had LEAST_TURNS
LEAST_TURNS = 3
COLOURS = {"met": "green", "within the spread": "yellow", "missed": "red"}

Side = Callable[[], float]  # does a turn's work and returns the seconds that one image took


@dataclass(frozen=True)
class Contest:
    """Sides that do the same work; the first is ours, and the ratio to each of the others is reported.

    There are at most `turns` turns, fewer on a machine that needs more than SECONDS for them. `goal` is the least ratio
    of speeds (ours over the other) that is aimed at. `promised` gives the ratio that the MACs promise, by the other
    side's name. Every side computes with `threads` threads.
    """

    what: str
    sides: dict[str, Side]
    turns: int
    threads: int = 1
    unit: Literal["images/s", "ms"] = "images/s"
    goal: float | None = None
    promised: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast our side is as another: the median over the turns, and the quartiles.

    `ours_median` and `other_median` are in `unit`: images per second, or milliseconds for one image.
    """

    what: str
    ours: str
    other: str
    unit: str
    threads: int
    turns: int
    ours_median: float
    other_median: float
    ratio: float
    quartiles: tuple[float, float]
    macs_ratio: float | None
    goal: float | None
    outcome: Literal["met", "within the spread", "missed"] | None


def run(names: list[str]) -> Iterator[dict[str, Any]]:
    """Run the named benchmarks (all of them when the list is empty) and keep each result in results.json as it comes.

    UsageError names the nearest benchmarks when there is none of a name.
    """
    for name in names or known():
        result: dict[str, Any] = {
            "date": datetime.date.today().isoformat(),
            "code": git_commit(),
            "machine": machine(),
            "ratios": [asdict(ratio) for ratio in measure(load(name).contests(tiny=False))],
        }
        kept = read_json(FOLDER / "results.json") if (FOLDER / "results.json").exists() else {}
        write_json(FOLDER / "results.json", dict(sorted((kept | {name: result}).items())))
        yield {"benchmark": name, **result}


def known() -> list[str]:
    """The benchmarks' names."""
    return sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))


def load(name: str) -> ModuleType:
    """The module of a benchmark; UsageError names the nearest."""
    if name not in known():
        raise UsageError(f"no benchmark `{name}`; {nearest(name, known())}")
    return load_file(FOLDER / f"bench_{name}.py")


def load_file(path: Path) -> ModuleType:
    """The module in a file of tests/, which is no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def measure(contests: list[Contest]) -> list[Ratio]:
    """Run the contests one after another; each begins with a turn that is not counted."""
    from shared.measure.cost import threads

    ratios = []
    for contest in contests:
        seconds: dict[str, list[float]] = {name: [] for name in contest.sides}
        started = time.perf_counter()
        with threads(contest.threads):
            for turn in range(contest.turns + 1):
                if turn > LEAST_TURNS and time.perf_counter() - started > SECONDS:
                    break
                for name, side in contest.sides.items():
                    taken = side()
                    if turn:
                        seconds[name].append(taken)
        ours, *others = contest.sides
        ratios += [_ratio(contest, ours, other, seconds) for other in others]
    return ratios


def machine() -> dict[str, Any]:
    """The processors, the cores and the versions that decide speed."""
    import torch

    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _ratio(contest: Contest, ours: str, other: str, seconds: dict[str, list[float]]) -> Ratio:
    pairs = [theirs / mine for mine, theirs in zip(seconds[ours], seconds[other], strict=True)]
    low, median, high = statistics.quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else pairs * 3
    outcome: Literal["met", "within the spread", "missed"] | None = None
    if contest.goal is not None:
        outcome = "met" if median >= contest.goal else "within the spread" if high >= contest.goal else "missed"
    promised = contest.promised.get(other)
    return Ratio(
        what=contest.what,
        ours=ours,
        other=other,
        unit=contest.unit,
        threads=contest.threads,
        turns=len(pairs),
        ours_median=_in_unit(statistics.median(seconds[ours]), contest.unit),
        other_median=_in_unit(statistics.median(seconds[other]), contest.unit),
        ratio=round(median, 3),
        quartiles=(round(low, 3), round(high, 3)),
        macs_ratio=None if promised is None else round(promised, 2),
        goal=contest.goal,
        outcome=outcome,
    )


def _in_unit(seconds: float, unit: str) -> float:
    return round(1 / seconds, 1) if unit == "images/s" else round(1000 * seconds, 2)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def show(result: dict[str, Any]) -> None:
    """A table for each contest of what `run` yields: the first row is ours, the ratios stand beside the others."""
    name, ratios = result["benchmark"], [Ratio(**ratio) for ratio in result["ratios"]]
    console = Console()
    for (what, threads), group in itertools.groupby(ratios, lambda ratio: (ratio.what, ratio.threads)):
        title = f"{name}: {what}, {threads} thread{'s' if threads > 1 else ''}"
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for head in ("", "median", "ratio", "quartiles", "by MACs", "goal"):
            table.add_column(head, justify="right" if head else "left")
        for number, ratio in enumerate(group):
            if not number:
                table.add_row(ratio.ours, f"{ratio.ours_median:g} {ratio.unit}")
            table.add_row(
                ratio.other,
                f"{ratio.other_median:g} {ratio.unit}",
                f"{ratio.ratio:.3g}",
                "{:.3g} .. {:.3g}".format(*ratio.quartiles),
                "" if ratio.macs_ratio is None else f"{ratio.macs_ratio:.3g}",
                "" if ratio.outcome is None else f"{ratio.goal:g}: [{COLOURS[ratio.outcome]}]{ratio.outcome}[/]",
            )
        console.print(table)
        console.print()
