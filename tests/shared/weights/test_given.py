"""Others' trained networks are told from upstream.json, which says what upstream.py does."""

from __future__ import annotations

import importlib

import pytest

from shared.errors import PapertrailError, UsageError
from shared.weights.card import home
from shared.weights.given import given
from shared.weights.published import published

SLUGS = sorted(file.parent.name for file in home("ghostnet").parent.glob("*/upstream.json"))


@pytest.mark.parametrize("slug", SLUGS)
def test_what_is_told_is_what_is_published(slug: str) -> None:
    for name in importlib.import_module(f"papers.{slug}.upstream").PUBLISHED:
        told, network = given(f"{slug}/{name}"), published(f"{slug}/{name}")
        assert (told.source, told.sha256, told.licence, told.says) == (
            network.source,
            network.sha256,
            network.licence,
            network.says,
        )


def test_an_unknown_network_or_paper_is_named() -> None:
    with pytest.raises(UsageError, match=r"upstream\.json: has no network `resnet21`; .*resnet2"):
        given("rethinking_pruning/resnet21")
    with pytest.raises(PapertrailError, match=r"upstream\.json: missing; `python -m papers\.eca_net\.upstream` writes"):
        given("eca_net/resnet20")
