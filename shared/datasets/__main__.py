"""`python -m shared.datasets SET`: fetch, make and verify a data set, and write data/<set>/verified.json."""

from __future__ import annotations

import sys

from shared.errors import UsageError, exit_status
from shared.files import ROOT, write_json

KEPT = ("name", "title", "layout", "fingerprint", "counts", "classes_counted", "annotations")


def main() -> int:
    """Prepare the set that the one argument names; returns the exit status."""
    return exit_status(_prepare_named)


def _prepare_named() -> None:
    if len(sys.argv) != 2:
        raise UsageError("usage: python -m shared.datasets SET")
    from shared import datasets

    found = datasets.prepare(sys.argv[1])
    write_json(ROOT / "data" / sys.argv[1] / "verified.json", {key: found[key] for key in KEPT if key in found})


if __name__ == "__main__":
    sys.exit(main())
