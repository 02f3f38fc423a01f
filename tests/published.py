"""Others' weights, where they are here."""

from __future__ import annotations

import pytest

from shared import datasets
from shared.datasets.find import data_root
from shared.weights.published import Published


def require_published(one: Published) -> None:
    """Skip the test where the file, or the images that it is evaluated on, are not here."""
    root = data_root()
    if root is None or not (root / "weights" / one.file).is_file():
        pytest.skip(f"PAPERTRAIL_DATA has no weights/{one.file}")
    if not datasets.describe(one.data)["found"]:
        pytest.skip(f"PAPERTRAIL_DATA has no {one.data}")
