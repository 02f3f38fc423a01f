from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from papers.ghostnet import DEFAULTS, MODELS
from shared.errors import UsageError
from shared.measure import count, latency, peak_memory


@pytest.mark.parametrize("name", MODELS)
def test_macs_equal_torchs_own_counter(name: str) -> None:
    shape, classes = DEFAULTS[name]
    with torch.device("meta"):
        model = MODELS[name](classes=classes).eval()
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, *shape))
    assert 2 * count(model, shape).macs == counter.get_total_flops()


def test_macs_and_activations_equal_fvcores() -> None:
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    model = MODELS["resnet20"]().eval()
    images = torch.zeros(1, 3, 32, 32)
    ours = count(model, (3, 32, 32))
    by_operator = FlopCountAnalysis(model, images).unsupported_ops_warnings(False).by_operator()
    assert ours.macs == by_operator["conv"] + by_operator["linear"]
    assert ours.activations == ActivationCountAnalysis(model, images).unsupported_ops_warnings(False).total()


def test_a_known_network_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(2, 6, 3, stride=2, padding=1, groups=2), nn.Flatten(), nn.Linear(6 * 4 * 4, 5))
    found = count(model, (2, 8, 8))
    assert found.macs == 6 * 16 * 9 + 96 * 5
    assert found.params == 6 * 9 + 6 + 96 * 5 + 5
    assert found.activations == 6 * 16 + 5
    assert found.additions == found.multiplications == found.macs


class Adder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return -(x[:, :, None] - torch.ones(4, device=x.device)).abs().sum(1)

    def adder_taps(self, output: Tensor) -> int:
        return output.numel() * 3


def test_adder_layers_count_additions_and_no_multiplication() -> None:
    found = count(nn.Sequential(nn.Flatten(), Adder(), nn.Linear(4, 2)), (3, 1, 1))
    assert (found.macs, found.adder_taps, found.multiplications, found.additions) == (8, 12, 8, 8 + 24)


def test_counting_leaves_the_network_as_it_was() -> None:
    model = MODELS["resnet20"]().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count(model, (3, 32, 32))
    assert model.training and all(not layer._forward_hooks for layer in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


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


def test_a_transposed_convolution_multiplies_each_input_by_each_tap() -> None:
    layer = nn.ConvTranspose2d(3, 5, 2, stride=2, bias=False)
    assert count(layer, (3, 4, 4)).macs == 4 * 4 * 3 * 5 * 2 * 2
