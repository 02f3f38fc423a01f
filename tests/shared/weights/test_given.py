"""Others' trained networks are told from upstream.json, which says what upstream.py does."""

from __future__ import annotations

import pytest

from shared.errors import PapertrailError, UsageError
from shared.weights.given import given
from shared.weights.published import published


def test_what_is_told_is_what_is_published() -> None:
    """That every paper's file says what its upstream.py does is tested in tests/test_papers.py."""
    told, network = given("rethinking_pruning/resnet20"), published("rethinking_pruning/resnet20")
    assert (told.source, told.sha256, told.licence, told.says) == (
        network.source,
        network.sha256,
        network.licence,
        network.says,
    )
    assert told.top1 == 91.73


def test_an_unknown_network_or_paper_is_named() -> None:
    with pytest.raises(UsageError, match=r"upstream\.json: has no network `resnet21`; .*resnet2"):
        given("rethinking_pruning/resnet21")
    with pytest.raises(PapertrailError, match=r"upstream\.json: missing; `python -m papers\.eca_net\.upstream` writes"):
        given("eca_net/resnet20")
