from __future__ import annotations

import pytest
import torch

from shared.layers.drop_path import DropPath, linear_rates


def test_whole_samples_go_and_the_mean_stays() -> None:
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 3, 1)
    out = DropPath(0.25).train()(x)
    kept = out[:, 0, 0, 0] > 0
    assert torch.equal(out, (kept.float() / 0.75)[:, None, None, None].expand_as(x))
    assert kept.float().mean().item() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_nothing_goes_in_evaluation_or_at_rate_zero(rate: float, training: bool) -> None:
    x = torch.randn(8, 3)
    assert DropPath(rate).train(training)(x) is x


def test_the_rates_rise_from_nothing() -> None:
    assert linear_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert linear_rates(0.3, 1) == [0]


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"not {rate}"):
        DropPath(rate)
