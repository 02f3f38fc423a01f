"""`python -m shared.ledger papers/<slug>`: judge every claim, write the verdicts and the generated text."""

from __future__ import annotations

import argparse
import sys

from shared.errors import PapertrailError, UsageError
from shared.files import ROOT
from shared.ledger import judge
from shared.ledger.render import update
from shared.ledger.show import tally


def main() -> int:
    """Judge one paper; 0 when every claim has its verdict."""
    parser = argparse.ArgumentParser(prog="python -m shared.ledger", description=__doc__)
    parser.add_argument("paper", help="for instance papers/ghostnet")
    slug = parser.parse_args().paper.removeprefix("papers/").rstrip("/")
    try:
        if not (ROOT / "papers" / slug / "claims.yaml").exists():
            raise UsageError(f"no paper `{slug}`; `papertrail papers` lists them")
        entries = judge(slug)
        update(slug, entries)
    except PapertrailError as error:
        print(f"papertrail: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    tally(entries)
    print(f"one by one: papertrail ledger {slug}\nwhy: papers/{slug}/README.md\nnotebook: notebooks/{slug}.ipynb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
