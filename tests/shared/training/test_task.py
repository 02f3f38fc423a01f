"""The penalty on the scales of batch normalisation (Network Slimming, equation 1), against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from shared.errors import PapertrailError
from shared.training.task import ClassificationTask, scales

from .protocols import tiny


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10))
    with torch.no_grad():
        made[1].weight.copy_(torch.tensor([0.5, -0.5, 0.0, 0.009, -0.0099, 0.01]))  # type: ignore[union-attr]
    return made


def task(scale_l1: float | None) -> ClassificationTask:
    recipe = tiny(scale_l1=scale_l1, label_smoothing=0.0).recipe
    return ClassificationTask(network(), recipe, classes=10, seed=0, steps_per_epoch=1)  # type: ignore[arg-type]


def test_the_penalty_adds_the_sign_of_the_scale_to_its_gradient_and_to_no_other() -> None:
    batch = torch.randn(8, 1, 6, 6), torch.arange(8)
    plain, sparse = task(0.0), task(0.25)
    for one in (plain, sparse):
        one.training_step(batch, 0).backward()
    for (name, ours), (_, theirs) in zip(sparse.model.named_parameters(), plain.model.named_parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        extra = 0.25 * torch.sign(ours) if name == "1.weight" else torch.zeros_like(ours)
        torch.testing.assert_close(ours.grad, theirs.grad + extra)
    assert float(sparse.train_loss.compute()) == float(plain.train_loss.compute()), "curves show the cross-entropy"


def test_the_share_of_small_scales_is_told_only_where_the_recipe_speaks_of_them() -> None:
    images, labels = torch.randn(8, 1, 6, 6), torch.arange(8)
    for scale_l1, said in ((None, False), (0.0, True), (1e-3, True)):
        one = task(scale_l1)
        one.validation_step((images, labels), 0)
        metrics = one.test_metrics()
        assert ("small_scales" in metrics) == said
        if said:
            assert metrics["small_scales"] == 50.0, "0, 0.009 and -0.0099 of six"
        assert metrics["loss"] == pytest.approx(float(functional.cross_entropy(one(images), labels)), abs=1e-5)


def test_a_network_without_scales_is_refused() -> None:
    with pytest.raises(PapertrailError, match="no batch normalisation"):
        scales(nn.Linear(2, 2))
