from __future__ import annotations

import pytest
import torch
from torch import nn

from shared.errors import UsageError
from shared.measure import latency, peak_memory


def test_measuring_memory_writes_nothing_beside_its_result(capfd: pytest.CaptureFixture[str]) -> None:
    peak_memory(nn.Conv2d(1, 8, 1), (1, 8, 8))
    assert capfd.readouterr() == ("", "")


def test_peak_memory_of_known_allocations() -> None:
    inference = peak_memory(nn.Conv2d(1, 8, 1), (1, 64, 64))
    assert 8 * 64 * 64 * 4 <= inference < 3 * 8 * 64 * 64 * 4
    wide = nn.Sequential(*[nn.Sequential(nn.Conv2d(8, 8, 1), nn.Sigmoid()) for _ in range(8)])
    assert peak_memory(wide, (8, 32, 32), training=True) > 2 * peak_memory(wide, (8, 32, 32)), "backward keeps outputs"
    assert all(parameter.grad is None for parameter in wide.parameters())


def test_latency_states_how_it_was_measured() -> None:
    model = nn.Conv2d(3, 4, 3).train()
    before = torch.get_num_threads()
    found = latency(model, (3, 16, 16), batch=2, repeats=5, warmup=1)
    assert found.median_ms > 0 and found.spread_ms >= 0 and (found.threads, found.batch, found.repeats) == (1, 2, 5)
    assert model.training and torch.get_num_threads() == before
    with pytest.raises(UsageError, match="at least 4 repeats"):
        latency(model, (3, 16, 16), repeats=1)


@pytest.mark.parametrize("training", [False, True])
def test_measuring_leaves_the_network_as_it_was(training: bool) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)).train()
    model[2].eval()  # a frozen layer in a network that trains
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    peak_memory(model, (3, 8, 8), batch=2, training=training)
    latency(model, (3, 8, 8), repeats=4, warmup=0)
    assert [layer.training for layer in model] == [True, True, False] and model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(
        torch.equal(parameter.grad, gradient)  # type: ignore[arg-type]
        for parameter, gradient in zip(model.parameters(), gradients, strict=True)
    )


def test_a_network_that_fails_is_given_back() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).train()
    for measure in (lambda: latency(model, (2, 8, 8)), lambda: peak_memory(model, (2, 8, 8))):
        with pytest.raises(RuntimeError, match="channels"):
            measure()
        assert model.training and model[0].training
