"""`python -m shared.training {train,prune,evaluate} papers/<slug> PROTOCOL ARM`: what the stages of a pipeline run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NoReturn

from shared.errors import UsageError, exit_status
from shared.files import slug_of
from shared.training.command import perform

ACTIONS = {
    "train": "train one arm, whether it begins with a builder or with another arm's network",
    "prune": "take out of another arm's network what its `prune` says; nothing is trained",
    "evaluate": "measure what was trained or pruned on the test split, and write metrics.json",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as every command's."""
        raise UsageError(f"{message}; see papertrail train --help")


def main() -> int:
    """Do it, and return the exit status: 0, 1 when it failed, 2 on wrong usage."""
    return exit_status(lambda: _perform(sys.argv[1:]))


def _perform(words: list[str]) -> None:
    if words and words[0] not in ACTIONS and not words[0].startswith("-"):
        known, right = ", ".join(ACTIONS), " ".join([slug_of(words[0]), *words[1:]])
        raise UsageError(f"`{words[0]}` is none of {known}; papertrail train {right}")
    parser = _Parser(prog="python -m shared.training", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for action, what in ACTIONS.items():
        one = actions.add_parser(action, help=what, description=what)
        one.add_argument("paper", type=slug_of, help="papers/<slug>")
        one.add_argument("protocol", help="a protocol of the paper's params.yaml")
        one.add_argument("arm", help="an arm of that protocol")
        one.add_argument("--seed", type=int, help="this seed alone, and no summary")
        one.add_argument("--runs", type=Path, help="where runs are kept, when not in papers/<slug>/runs")
        if action != "evaluate":
            one.add_argument("--fast", action="store_true", help="two steps on stand-in data; writes nothing")
    given = vars(parser.parse_args(words))
    perform(given.pop("action"), given.pop("paper"), given.pop("protocol"), **given)


if __name__ == "__main__":
    sys.exit(main())
