"""`python -m shared.ledger papers/<slug>`: judge every claim, write the verdicts and the generated text."""

from __future__ import annotations

import argparse
import sys

from shared.errors import UsageError, exit_status
from shared.files import ROOT, slug_of
from shared.ledger.judge import judge
from shared.ledger.local import local_lines
from shared.ledger.render import update
from shared.ledger.show import tally


def main() -> int:
    """Judge one paper; 0 when every claim has its verdict."""
    parser = argparse.ArgumentParser(prog="python -m shared.ledger", description=__doc__)
    parser.add_argument("paper", type=slug_of, help="for instance papers/ghostnet")
    slug = parser.parse_args().paper
    return exit_status(lambda: _judge(slug))


def _judge(slug: str) -> None:
    if not (ROOT / "papers" / slug / "claims.yaml").exists():
        raise UsageError(f"no paper `{slug}`; `papertrail papers` lists them")
    entries = judge(slug)
    update(slug, entries)
    tally(entries)
    for line in local_lines(slug):
        print(f"on this machine, beside the record: {line}")
    print(f"one by one: papertrail ledger {slug}\nwhy: papers/{slug}/README.md\nnotebook: notebooks/{slug}.ipynb")


if __name__ == "__main__":
    sys.exit(main())
