"""Each importance against plain loops in float64."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.compression import importance
from shared.errors import PapertrailError
from shared.layers.widths import prunable_norms
from tests.shared.compression.networks import NETWORKS, SHAPE, settled


def flattened() -> nn.Module:
    torch.manual_seed(0)
    network = settled(NETWORKS["flattened"](""))
    with torch.no_grad():
        network.get_parameter("layers.0.1.weight")[2] *= -1
    return network


def batches(*sizes: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, *SHAPE, generator=generator), torch.randint(0, 4, (size,), generator=generator))
        for size in sizes
    ]


def test_scale_is_the_magnitude_of_gamma() -> None:
    network = flattened()
    found = importance.scale(network)
    assert tuple(found) == network.prunable
    for name, norm in prunable_norms(network).items():
        assert found[name].tolist() == [abs(gamma) for gamma in norm.weight.tolist()]


@pytest.mark.parametrize("p", [1, 2])
def test_filter_norm_is_that_of_the_filter_before_the_norm(p: int) -> None:
    network = flattened()
    found = importance.filter_norm(network, SHAPE, p)  # type: ignore[arg-type]
    makers = {"layers.0.1": "layers.0.0", "layers.1.1": "layers.1.0", "layers.5": "layers.4"}
    assert list(found) == list(makers)
    for norm, maker in makers.items():
        for channel, weight in enumerate(network.get_parameter(f"{maker}.weight")):
            wanted = math.fsum(abs(value) ** p for value in weight.flatten().tolist()) ** (1 / p)
            assert float(found[norm][channel]) == pytest.approx(wanted, rel=1e-12)


def test_behind_a_depthwise_filter_it_is_that_filter_which_counts() -> None:
    network = NETWORKS["shuffled"]("")
    assert importance.makers(network, SHAPE) == {"body.2.1": "body.2.0"}


def test_a_norm_behind_a_selection_has_no_filter_of_its_own() -> None:
    with pytest.raises(
        PapertrailError, match=r"blocks\.0\.body\.1: no convolution or linear layer stands right before"
    ):
        importance.filter_norm(NETWORKS["preactivation"](""), SHAPE, 1)


def test_taylor_is_the_scale_times_its_gradient_averaged_over_batches() -> None:
    network, given = flattened(), batches(3, 5)
    found = importance.taylor(network, given)
    wide = copy.deepcopy(network).double()
    step = 1e-6
    for name, norm in prunable_norms(wide).items():
        for channel in range(norm.num_features):
            total, gamma = 0.0, float(norm.weight[channel])
            for images, classes in given:
                losses = []
                for sign in (1, -1):
                    with torch.no_grad():
                        norm.weight[channel] = gamma + sign * step
                        losses.append(float(functional.cross_entropy(wide(images.double()), classes)))
                        norm.weight[channel] = gamma
                total += abs(gamma * (losses[0] - losses[1]) / (2 * step))
            assert float(found[name][channel]) == pytest.approx(total / len(given), rel=1e-3, abs=1e-6)


def test_taylor_leaves_the_network_as_it_was_and_needs_a_batch() -> None:
    network = flattened().train().requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        importance.taylor(network, batches(4))
    assert network.training and not any(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    with pytest.raises(PapertrailError, match="at least one batch"):
        importance.taylor(network, [])


def test_random_follows_its_seed_alone() -> None:
    network = flattened()
    first, again, other = (importance.random(network, seed) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name]) for name in first)
    assert {name: len(values) for name, values in first.items()} == {"layers.0.1": 6, "layers.1.1": 5, "layers.5": 7}
    assert not torch.equal(first["layers.0.1"][:5], first["layers.1.1"])
