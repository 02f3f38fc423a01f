"""`python -m shared.ledger papers/<slug>`: judge every claim, write the verdicts and the generated text."""

from __future__ import annotations

import argparse
import sys

from shared.errors import exit_status
from shared.files import slug_of
from shared.ledger.judge import judge
from shared.ledger.local import local_lines
from shared.ledger.render import update
from shared.ledger.show import tally
from shared.paper import load_paper
from shared.sync import sync


def main() -> int:
    """Judge one paper; 0 when every claim has its verdict."""
    parser = argparse.ArgumentParser(prog="python -m shared.ledger", description=__doc__)
    parser.add_argument("paper", type=slug_of, help="for instance papers/ghostnet")
    slug = parser.parse_args().paper
    return exit_status(lambda: _judge(slug))


def _judge(slug: str) -> None:
    entries = judge(load_paper(slug).slug)
    update(slug, entries)
    tally(entries)
    for line in local_lines(slug):
        print(f"on this machine, beside the record: {line}")
    if outdated := sync(paper=slug, check=True):
        print(f"run `papertrail sync`, or DVC misses changes: {', '.join(outdated)} should say something else by now")
    print(f"one by one: papertrail ledger {slug}\nwhy: papers/{slug}/README.md\nnotebook: notebooks/{slug}.ipynb")


if __name__ == "__main__":
    sys.exit(main())
