"""The penalty on the scales of batch normalisation (Network Slimming, equation 1), against its formula."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional

from papers.network_slimming.method import Slimming, scales
from shared.errors import PapertrailError
from shared.files import ROOT
from shared.training.classification import ClassificationRecipe
from shared.training.classifier import Classifier
from shared.training.protocol import load_protocols


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10))
    with torch.no_grad():
        made[1].weight.copy_(torch.tensor([0.5, -0.5, 0.0, 0.009, -0.0099, 0.01]))  # type: ignore[union-attr]
    return made


def classifier(penalty: float | None) -> Classifier:
    method = None if penalty is None else Slimming(name="slimming", penalty=penalty)
    recipe = ClassificationRecipe(epochs=1, batch_size=8, optimiser={"name": "sgd", "lr": 0.1}, method=method)  # type: ignore[arg-type]
    return Classifier(network(), recipe, classes=10, seed=0, steps_per_epoch=1)


def test_the_penalty_adds_the_sign_of_the_scale_to_its_gradient_and_to_no_other() -> None:
    batch = torch.randn(8, 1, 6, 6), torch.arange(8)
    plain, sparse = classifier(0.0), classifier(0.25)
    for one in (plain, sparse):
        one.training_step(batch, 0).backward()
    for (name, ours), (_, theirs) in zip(sparse.model.named_parameters(), plain.model.named_parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None
        extra = 0.25 * torch.sign(ours) if name == "1.weight" else torch.zeros_like(ours)
        torch.testing.assert_close(ours.grad, theirs.grad + extra)
    assert float(sparse.train_loss.compute()) == float(plain.train_loss.compute()), "curves show the cross-entropy"


def test_the_share_of_small_scales_is_told_only_where_the_recipe_speaks_of_them() -> None:
    images, labels = torch.randn(8, 1, 6, 6), torch.arange(8)
    for penalty, said in ((None, False), (0.0, True), (1e-3, True)):
        one = classifier(penalty)
        one.on_validation_epoch_start()
        one.validation_step((images, labels), 0)
        metrics = one.tested()
        assert ("test_small_scales" in metrics) == said
        if said:
            assert metrics["test_small_scales"] == 50.0, "0, 0.009 and -0.0099 of six"
        assert metrics["test_loss"] == pytest.approx(functional.cross_entropy(one(images), labels).item(), abs=1e-5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "slimmer", "penalty": 0}, "recipe.method: papers/network_slimming has no `name: slimmer`"),
        ({"name": "slimming", "penalti": 0}, "recipe.method.penalti: unknown key"),
        ({"name": "slimming", "penalty": -1}, "recipe.method.penalty: "),
        ({"penalty": 1}, "recipe.method: papers/network_slimming has no `name: None`"),
    ],
)
def test_a_method_that_the_paper_does_not_have_or_a_wrong_parameter_is_named(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    stated = yaml.safe_load((ROOT / "papers" / "network_slimming" / "params.yaml").read_text())["mini"]
    stated["recipe"]["method"] = change
    path = tmp_path / "network_slimming" / "params.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump({"mini": stated}))
    with pytest.raises(PapertrailError) as caught:
        load_protocols(path)
    assert named in str(caught.value)


def test_a_network_without_scales_is_refused() -> None:
    with pytest.raises(PapertrailError, match="`slimming` needs batch normalisation"):
        scales(nn.Linear(2, 2))
