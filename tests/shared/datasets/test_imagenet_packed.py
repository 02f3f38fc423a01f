from __future__ import annotations

import pytest

from shared import datasets
from tests.shared.datasets.made import needs_data


@needs_data
@pytest.mark.parametrize("name", ["imagenette224", "imagenet_sample"])
def test_packed_sets_have_their_counts(name):
    report = datasets.prepare(name)
    each = datasets.spec(name).counts["train"] // datasets.spec(name).classes
    assert report["classes_counted"]["train"] == {"smallest": each, "largest": each}
