"""The contract of `features` (shared/baselines/__init__.py), for every kind of network that has it."""

from __future__ import annotations

import importlib
import inspect
import itertools
from typing import Any

import pytest
import torch

from shared.paper import papers


@pytest.mark.parametrize("slug", papers())
def test_images_become_named_maps_each_of_half_the_size_of_the_one_before(slug: str) -> None:
    kinds: dict[Any, Any] = {}
    for builder in importlib.import_module(f"papers.{slug}").MODELS.values():
        with torch.device("meta"):
            network = builder().eval()
        if inspect.ismethod(getattr(network, "features", None)):
            kinds[type(network)] = network
    images = torch.empty(2, 3, 128, 192, device="meta")
    for kind, network in kinds.items():
        classified = []
        network.classifier.register_forward_hook(lambda *_, seen=classified: seen.append(True))
        taps = network.features(images)
        assert len(taps) > 1 and all(isinstance(tap, str) for tap in taps), kind
        sizes = [tuple(maps.shape[2:]) for maps in taps.values()]
        assert all(before == (2 * h, 2 * w) for before, (h, w) in itertools.pairwise(sizes)), kind
        assert all(maps.ndim == 4 and len(maps) == 2 for maps in taps.values()) and not classified, kind
        network(images)
        assert classified, kind
